// Package web holds the built web map: the page, its script and its style as static files.
//
//	if files := web.FS(); files != nil {
//		router.PathPrefix("/").Handler(http.FileServerFS(files))
//	}
//
// `make web` (npm ci, npm run build) writes them to dist/, which git ignores. A clone without them compiles all the
// same: FS is nil then, and Missing is the page to answer instead.
package web

import (
	"embed"
	"io/fs"
)

// The pattern always matches: dist.html is committed, dist/ is there once it is built.
//
//go:embed dist*
var files embed.FS

// FS returns the built web map (index.html at its root), or nil if it was not built into this binary.
// File names under assets/ carry a hash of their content, so they may be cached for ever; all others may not.
func FS() fs.FS {
	if _, err := fs.Stat(files, "dist/index.html"); err != nil {
		return nil
	}
	dist, err := fs.Sub(files, "dist")
	if err != nil {
		return nil
	}
	return dist
}

// Missing returns the HTML page that says how to build the web map, for a binary without it.
func Missing() []byte {
	page, err := files.ReadFile("dist.html")
	if err != nil {
		return nil
	}
	return page
}
