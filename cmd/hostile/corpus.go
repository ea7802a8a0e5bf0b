package main

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	checkpoints "github.com/tilescout/tilescout/encoder/checkpoint/hostile"
	onnx "github.com/tilescout/tilescout/encoder/hostile"
	tiffs "github.com/tilescout/tilescout/geo/geotiff/hostile"
	pictures "github.com/tilescout/tilescout/tileserver/source/hostile"
	mbtiles "github.com/tilescout/tilescout/tileserver/source/mbtiles/hostile"
	pmtiles "github.com/tilescout/tilescout/tileserver/source/pmtiles/hostile"
	documents "github.com/tilescout/tilescout/tileserver/source/upstream/hostile"
)

// write fills dir with the corpus, a folder for each format, and returns the files by format.
func write(dir, shared string, want func(format string) bool) (map[string][]string, error) {
	files := map[string][]string{}
	put := func(format, name string, data []byte) error {
		path := filepath.Join(dir, format, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		files[format] = append(files[format], path)
		return os.WriteFile(path, data, 0o644)
	}
	for format, list := range generators() {
		if !want(format) {
			continue
		}
		for name, data := range list {
			if err := put(format, name, data); err != nil {
				return nil, err
			}
		}
	}
	if want("mbtiles") {
		folder := filepath.Join(dir, "mbtiles")
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return nil, err
		}
		list, err := mbtiles.Write(folder)
		if err != nil {
			return nil, fmt.Errorf("write MBTiles: %w", err)
		}
		files["mbtiles"] = append(files["mbtiles"], list...)
	}
	good, err := goodFiles()
	if err != nil {
		return nil, err
	}
	for _, g := range good {
		if !want(g.format) {
			continue
		}
		for n := range len(g.data) {
			if err := put(g.format, fmt.Sprintf("%s-cut-%05d%s", g.name, n, g.ext), g.data[:n]); err != nil {
				return nil, err
			}
		}
		if err := put(g.format, g.name+"-whole"+g.ext, g.data); err != nil {
			return nil, err
		}
	}
	if err := broken(shared, want, put); err != nil {
		return nil, err
	}
	for _, list := range files {
		slices.Sort(list)
	}
	return files, nil
}

// generators are the packages that know how to hurt a format.
func generators() map[string]iter.Seq2[string, []byte] {
	return map[string]iter.Seq2[string, []byte]{
		"onnx":       onnx.Graphs(),
		"pmtiles":    pmtiles.Files(),
		"config":     maps.All(configs()),
		"checkpoint": checkpoints.Files(),
		"document":   documents.Files(),
		"picture":    pictures.Files(),
		"tiff":       tiffs.Files(),
	}
}

// broken adds the damaged real files of the shared data, where they are.
func broken(shared string, want func(string) bool, put func(format, name string, data []byte) error) error {
	folder := filepath.Join(shared, "geo", "broken")
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(folder, e.Name())
		switch filepath.Ext(path) {
		case ".zip":
			if err := unzip(path, func(name string, data []byte) error {
				if !want("tiff") {
					return nil
				}
				return put("tiff", "real-"+name, data)
			}); err != nil {
				return err
			}
		case ".mbtiles", ".tif", ".tiff":
			format := "tiff"
			if filepath.Ext(path) == ".mbtiles" {
				format = "mbtiles"
			}
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if want(format) {
				if err := put(format, "real-"+e.Name(), data); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func unzip(path string, each func(name string, data []byte) error) error {
	z, err := zip.OpenReader(path)
	if err != nil {
		return err
	}
	defer z.Close()
	for _, f := range z.File {
		if f.FileInfo().IsDir() {
			continue
		}
		r, err := f.Open()
		if err != nil {
			return err
		}
		data, err := io.ReadAll(io.LimitReader(r, 64<<20))
		r.Close()
		if err != nil {
			return err
		}
		if err := each(filepath.Base(f.Name), data); err != nil {
			return err
		}
	}
	return nil
}

// configs are config files that mean harm.
func configs() map[string][]byte {
	bomb := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'k'; c++ {
		p := string(c - 1)
		bomb += fmt.Sprintf("%c: &%c [*%s,*%s,*%s,*%s,*%s,*%s,*%s,*%s,*%s]\n", c, c, p, p, p, p, p, p, p, p, p)
	}
	layer := "layers:\n  - id: city\n    source: city.tif\n"
	texts := map[string]string{
		"empty": "", "null": "null", "list": "- a\n- b\n", "text": "hello", "number": "1e400", "tab": "\tlisten: x\n",
		"alias-bomb": bomb, "alias-self": "a: &a [*a]\n", "alias-unknown": "listen: *nobody\n",
		"deep-lists": strings.Repeat("[", 100_000), "deep-maps": strings.Repeat("{a: ", 20_000), "deep-flow": "layers: " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000),
		"two-mebibytes": "listen: " + strings.Repeat("x", 2<<20), "long-key": strings.Repeat("k", 1<<20) + ": 1\n",
		"many-layers": "layers:\n" + strings.Repeat("  - {id: a, source: a.tif}\n", 20_000), "duplicate-key": "listen: a\nlisten: b\n",
		"merge-bomb": "a: &a {b: 1}\nc: {<<: [" + strings.Repeat("*a,", 10_000) + "*a]}\n",
		"binary":     "listen: !!binary AAAA\n", "tag": "!!python/object/apply:os.system [id]\n", "custom-tag": "listen: !x y\n",
		"control": "listen: \"a\x00b\"\n", "not-utf8": "listen: \xff\xfe\n", "bom": "\ufefflisten: localhost:1\n", "utf16": "\xff\xfel\x00i\x00",
		"documents": "listen: a\n---\nlisten: b\n", "id-path": strings.Replace(layer, "city\n", "../../etc\n", 1), "id-long": strings.Replace(layer, "id: city", "id: "+strings.Repeat("a", 100), 1),
		"id-empty": strings.Replace(layer, "id: city", "id: ''", 1), "unknown-key": layer + "lisen: x\n", "wrong-type": "listen: [1]\n", "huge-number": "limits: {cacheMB: 99999999999999999999}\n",
		"negative": "limits: {cacheMB: -1}\n", "not-a-number": "limits: {cacheMB: .nan}\n", "infinite": "limits: {cacheMB: .inf}\n",
		"source-scheme": "layers:\n  - {id: a, source: 'gopher://x'}\n", "source-host-placeholder": "layers:\n  - {id: a, source: 'https://{z}.example/{z}/{x}/{y}'}\n",
		"env-missing": "layers:\n  - {id: a, source: 'https://h.example/{z}/{x}/{y}', headers: {A: '${NOPE}'}}\n", "env-unclosed": "layers:\n  - {id: a, source: 'https://h.example/${NOPE/{z}/{x}/{y}'}\n",
		"header-newline": "layers:\n  - {id: a, source: 'https://h.example/{z}/{x}/{y}', headers: {A: \"x\\r\\nB: y\"}}\n",
		"bounds-nan":     "layers:\n  - {id: a, source: 'https://h.example/{z}/{x}/{y}', bounds: [.nan, 0, 1, 1]}\n", "bounds-inside-out": "layers:\n  - {id: a, source: 'https://h.example/{z}/{x}/{y}', bounds: [0, 80, 1, -80]}\n",
		"zoom-huge": "layers:\n  - {id: a, source: 'https://h.example/{z}/{x}/{y}', maxZoom: 99}\n", "search-unknown-layer": layer + "searches:\n  - {id: s, layer: nope, q: x}\n",
		"search-empty": layer + "searches:\n  - {id: s, layer: city, q: ''}\n", "control-in-title": "layers:\n  - {id: a, source: a.tif, title: \"\\x1b[2J\"}\n",
		"url-userinfo": "layers:\n  - {id: a, source: 'https://user:secret@h.example/{z}/{x}/{y}'}\n", "listen-huge-port": "listen: localhost:99999\n", "listen-nothing": "listen: ':::'\n",
	}
	out := map[string][]byte{}
	for name, text := range texts {
		out[name+".yaml"] = []byte(text)
	}
	return out
}
