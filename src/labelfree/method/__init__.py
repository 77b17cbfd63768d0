"""The equations of the paper, one short file each."""
