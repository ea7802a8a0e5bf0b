package hub

import "path/filepath"

// PartName is the name of the file that a download grows in.
func PartName(id, commit, path string) string { return filepath.Base(partPath("", id, commit, path)) }
