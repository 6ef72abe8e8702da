"""The images of a comparison: which train its networks, which choose one of them, and which say once how good that one is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from podium.comparison.candidates import RankOn
from podium.comparison.cross_validation import Folds, fold_folder
from podium.data.dataset import Dataset
from podium.data.images import Progress
from podium.data.record import Record
from podium.data.roles import described, with_roles, without_learned
from podium.errors import DataError, UsageError
from podium.settings import Settings
from podium.training.images import in_roles_of, inherited, split_seed, stored_of

SHARE, MOST = 0.2, 5000  # of the training images, that are held out for a role which the data have none for
FEW = 1000  # images, below which a fifth of them says little of a network
REPORTED = "rank and report on the same images: --rank-on test"


@dataclass(frozen=True)
class Images:
    """The images of a comparison, before they have their roles.

    Args:
        given: with the splits that they lie in; or a data set that was loaded already, which has roles.
        loaded: whether it was loaded already.
        settings: of the comparison.
        record: which of them the runs and bundles that the networks start from have learned from and held out.
    """

    given: Dataset
    loaded: bool
    settings: Settings
    record: Record | None

    @classmethod
    def read(cls, s: Settings, data: Dataset | None, starts: Sequence[str], progress: Progress | None) -> Self:
        """Read the images that the settings name, unless they are loaded already.

        Args:
            s: of the comparison.
            data: a data set that is loaded.
            starts: the names of runs and bundles that networks start from.
            progress: called with (files read, files to read) while image files are read for the first time.
        """
        if data is None:
            stored = stored_of(s, progress)
            return cls(stored, False, s, inherited(s, stored, starts))
        return cls(data, True, s.replace(val=None, test=None), inherited(s, data, starts))

    def folds(self) -> Folds:
        """The images as the parts of a cross-validation."""
        return Folds.of(self.given, self.settings, self.record)

    def in_roles(self, rank_on: RankOn) -> tuple[Dataset, dict[str, float]]:
        """Give the images their roles.

        Args:
            rank_on: "val": validation images choose the network, and test images report; what the data lack of these is held
                out of the training images. "test": as one run has them.

        Returns:
            The images, and by the name of its setting the share that was decided here of each role.

        Raises:
            DataError: the networks start from weights that have learned from all images.
            UsageError: a share is given as 0.
        """
        if rank_on == "test":
            return self._as_one_run(), {}
        data, shares = self.given, self._shares()
        if not shares and self.settings.val is None and self.settings.test is None:
            return self._as_one_run(), {}
        s = self.settings.replace(**shares)
        seed = int(data.loaded_with.get("split_seed", split_seed(s)))
        try:
            made = with_roles(data, s.val, seed, self.record, s.test)
        except DataError as error:
            if self.record is not None and set(data.splits) != {"train"}:  # then the data have images to report on
                error.fix = f"{error.fix}, or {REPORTED}"
            raise
        for role, word in (("val", "validation"), ("test", "test")):
            if role not in made.splits:
                what = f"{data.name}: the starting weights leave no {word} images"
                raise DataError(what, f"give a {role} folder with images that they have not seen, or {REPORTED}")
        if self.loaded:
            made = self._still_loaded(made, shares)
        total = sum(map(len, made.splits.values()))
        if shares and total < FEW and self.record is None:
            note = f"note: of {total:,} images, few are left to choose the network and to test it; with --folds 5 every image would test once"
            made = replace(made, notes=(*made.notes, note))
        return described(made), shares

    def _as_one_run(self) -> Dataset:
        """The images in the roles that they have in `podium train`."""
        if not self.loaded:
            return in_roles_of(self.settings, self.given, self.record)
        return self.given if self.record is None else without_learned(self.given, self.record)

    def _shares(self) -> dict[str, float]:
        """The share of the training images to hold out for each role which the data have no images for, and no setting decides."""
        splits, found = self.given.splits, dict[str, float]()
        for role, word in (("test", "test"), ("val", "validation")):
            if role in splits or "train" not in splits:
                continue
            if (share := getattr(self.settings, role)) is None:
                found[role] = float(f"{min(SHARE, MOST / len(splits['train'])):.3g}")
            elif not share:
                raise UsageError(f"{role}: 0 leaves no {word} images", f"leave it out, or {REPORTED}")
        return found

    def _still_loaded(self, made: Dataset, shares: Mapping[str, float]) -> Dataset:
        """A loaded data set with another split: with all that was held out, and without the line on its former splits."""
        before = f"{made.name}: {next(iter(made.splits))} "
        notes = tuple(note for note in made.notes if not note.startswith(before))
        held_out = {**(self.given.held_out or {}), **(made.held_out or {})}
        return replace(made, notes=notes, held_out=held_out, loaded_with={**made.loaded_with, **shares})


def places(data: Dataset, folds: Folds | None) -> dict[str, Dataset]:
    """The images that the runs in a comparison's folder are trained on, by the pattern of their folders."""
    if folds is None:
        return {"*": data}
    numbered = enumerate(folds.parts, 1)
    return {**{str(fold_folder(Path("*"), n)): part for n, part in numbered}, "*-final": folds.whole}
