"""Parts of the study of label efficiency."""
