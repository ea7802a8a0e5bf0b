// Package bundled holds the model that is part of the program: a small dual encoder for aerial imagery with its
// vocabulary, its background concepts and its calibration. README.md beside the model is its card.
package bundled

import (
	"embed"
	"io/fs"
)

//go:embed all:model
var files embed.FS

// FS is the model folder.
func FS() fs.FS {
	sub, err := fs.Sub(files, "model")
	if err != nil {
		panic(err) // only an invalid path, which is a constant, is an error
	}
	return sub
}
