// How pictures come in: dropped, pasted, picked or photographed.

const byId = (id) => document.getElementById(id);

/**
 * Listen for pictures.
 *
 * @param {(files: File[]) => void} take - is given what came; an empty list where something came that is no file.
 */
export function listen(take) {
  for (const [button, field] of [["pick", "files"], ["photograph", "camera"]]) {
    byId(button).disabled = false;
    byId(button).addEventListener("click", () => byId(field).click());
    byId(field).addEventListener("change", ({ target }) => {
      const files = [...target.files];
      target.value = ""; // the same file may be chosen once more
      if (files.length) take(files);
    });
  }
  document.addEventListener("paste", ({ clipboardData, target }) => {
    const files = [...clipboardData?.files ?? []];
    if (files.length || !target.closest?.("input, textarea")) take(files);
  });
  listenForDrops(take);
}

/** The whole page takes what is dropped, so that a picture that misses the frame does not replace the page. */
function listenForDrops(take) {
  const over = (on) => byId("drop").classList.toggle("over", on);
  let depth = 0; // of elements that a drag has entered and not left
  addEventListener("dragenter", (event) => { event.preventDefault(); depth += 1; over(true); });
  addEventListener("dragleave", () => { depth -= 1; over(depth > 0); });
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    over(false);
    take([...event.dataTransfer?.files ?? []]);
  });
}
