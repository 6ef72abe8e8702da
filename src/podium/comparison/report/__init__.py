"""What people read of a comparison: the page, the same as Markdown, figures for papers, and pages of other verbs."""
