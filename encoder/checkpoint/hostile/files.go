package hostile

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"iter"
	"maps"
	"math"
	"slices"
	"strings"
)

// group is the files of one kind, each made when it is asked for.
type group struct {
	ending string
	files  map[string]func() []byte
}

func groups() []group {
	return []group{
		{".safetensors", headers()}, {".safetensors", models()}, {".pt", pickles()}, {".pt", archives()}, {".pt", legacies()}, {".msgpack", trees()},
	}
}

// large are the files of more than a few kilobytes, or that take long to make.
var large = []string{
	"header-nested", "header-blank", "name-long", "tensors-too-many", "marks", "lists", "lists-remembered", "tuples-nested",
	"zip-cut", "zip-cut-tail", "zip-bomb", "zip-pickle-large", "zip-storage-packed", "zip-members-many", "cut", "more", "map-nested",
}

// Files returns the files by name, whose ending is the format's. No more than one of the large ones is held.
func Files() iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for _, g := range groups() {
			for _, name := range slices.Sorted(maps.Keys(g.files)) {
				if !yield(name+g.ending, g.files[name]()) {
					return
				}
			}
		}
	}
}

// Seeds returns the small files of one ending, to start fuzzing from.
func Seeds(ending string) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for _, g := range groups() {
			if _, whole := g.files["weight-nan"]; g.ending != ending || whole {
				continue
			}
			for _, name := range slices.Sorted(maps.Keys(g.files)) {
				if !slices.Contains(large, name) && !yield(name+g.ending, g.files[name]()) {
					return
				}
			}
		}
	}
}

// headers are safetensors files whose header lies.
func headers() map[string]func() []byte {
	two := func(shape1, shape2 string, b1, e1, b2, e2, size int) func() []byte {
		return func() []byte {
			return safetensors(fmt.Sprintf(`{"a":{"dtype":"F32","shape":%s,"data_offsets":[%d,%d]},"b":{"dtype":"F32","shape":%s,"data_offsets":[%d,%d]}}`,
				shape1, b1, e1, shape2, b2, e2), make([]byte, size))
		}
	}
	length := func(n uint64, rest string) func() []byte {
		return func() []byte { return append(binary.LittleEndian.AppendUint64(nil, n), rest...) }
	}
	header := func(s string, size int) func() []byte {
		return func() []byte { return safetensors(s, make([]byte, size)) }
	}
	return map[string]func() []byte{
		"empty":               func() []byte { return nil },
		"seven-bytes":         func() []byte { return make([]byte, 7) },
		"header-none":         length(0, "{}"),
		"header-of-2^64":      length(math.MaxUint64, "{}{}{}"),
		"header-of-100-MB":    length(100_000_000, "{"+strings.Repeat(" ", 1000)),
		"header-beyond-file":  length(5000, `{"a":1}`),
		"header-no-json":      header(`{"a":`, 0),
		"header-list":         header(` [1,2,3]`, 0),
		"header-twice":        header(`{}{}`, 0),
		"header-not-utf8":     header("{\"a\xff\":{}}", 0),
		"header-nested":       header(`{"a":`+strings.Repeat(`[`, 200_000)+strings.Repeat(`]`, 200_000)+`}`, 0),
		"header-blank":        header(strings.Repeat(" ", 1<<20), 0),
		"metadata-number":     header(`{"__metadata__":{"a":1}}`, 0),
		"name-twice":          header(`{`+entry("a", "F32", []int{1}, 0, 4)+`,`+entry("a", "F32", []int{1}, 4, 8)+`}`, 8),
		"name-empty":          header(`{`+entry("", "F32", []int{1}, 0, 4)+`}`, 4),
		"name-nul":            header(`{`+entry("a\x00b", "F32", []int{1}, 0, 4)+`}`, 4),
		"name-long":           header(`{`+entry(strings.Repeat("a", 1<<20), "F32", []int{1}, 0, 4)+`}`, 4),
		"dtype-unknown":       header(`{`+entry("a", "F8_E4M3", []int{4}, 0, 4)+`}`, 4),
		"shape-negative":      header(`{`+entry("a", "F32", []int{-1, -1}, 0, 4)+`}`, 4),
		"shape-float":         header(`{`+entry("a", "F32", []float64{1.5}, 0, 4)+`}`, 4),
		"shape-wraps":         header(`{`+entry("a", "F32", []int64{1 << 33, 1 << 31, 2}, 0, 0)+`}`, 0),
		"shape-of-nine":       header(`{`+entry("a", "F32", []int{1, 1, 1, 1, 1, 1, 1, 1, 1}, 0, 4)+`}`, 4),
		"shape-does-not-fill": header(`{`+entry("a", "F32", []int{3}, 0, 4)+`}`, 4),
		"offset-negative":     header(`{`+entry("a", "F32", []int{1}, -4, 0)+`}`, 4),
		"offset-backwards":    header(`{`+entry("a", "F32", []int{1}, 4, 0)+`}`, 4),
		"offset-beyond":       header(`{`+entry("a", "F32", []int{1 << 20}, 0, 4<<20)+`}`, 4),
		"offset-three":        header(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,8]}}`, 4),
		"keys-missing":        header(`{"a":{"dtype":"F32"}}`, 4),
		"entry-number":        header(`{"a":7}`, 4),
		"overlap":             two("[2]", "[2]", 0, 8, 4, 12, 12),
		"overlap-whole":       two("[2]", "[2]", 0, 8, 0, 8, 8),
		"hole-at-start":       two("[1]", "[1]", 4, 8, 8, 12, 12),
		"hole-between":        two("[1]", "[1]", 0, 4, 8, 12, 12),
		"data-longer":         two("[1]", "[1]", 0, 4, 4, 8, 100),
		"data-shorter":        two("[1]", "[1]", 0, 4, 4, 8, 6),
		"tensors-none":        header(`{}`, 0),
		"page": func() []byte {
			return []byte("<!DOCTYPE html><html><body>Please log in</body></html>")
		},
		"lfs-pointer": func() []byte {
			return []byte("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 605157884\n")
		},
		"tensors-too-many": func() []byte {
			var h strings.Builder
			for i := range 20_000 {
				fmt.Fprintf(&h, `,"t%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}`, i)
			}
			return safetensors("{"+h.String()[1:]+"}", nil)
		},
	}
}

// models are sound files of unsound models.
func models() map[string]func() []byte {
	change := func(f func(all map[string]*Array)) func() []byte {
		return func() []byte {
			list := Model()
			all := make(map[string]*Array, len(list))
			for i := range list {
				all[list[i].Name] = &list[i]
			}
			f(all)
			list = list[:0]
			for _, name := range slices.Sorted(maps.Keys(all)) {
				list = append(list, *all[name])
			}
			return Safetensors(list)
		}
	}
	value := func(name string, v float64) func() []byte {
		return change(func(all map[string]*Array) { all[name].Values[len(all[name].Values)/2] = float32(v) })
	}
	shape := func(name string, shape ...int) func() []byte {
		return change(func(all map[string]*Array) {
			n := 1
			for _, s := range shape {
				n *= s
			}
			all[name] = &Array{name, shape, make([]float32, n)}
		})
	}
	more := func(names ...string) func() []byte {
		return change(func(all map[string]*Array) {
			for _, name := range names {
				all[name] = &Array{name, []int{1}, make([]float32, 1)}
			}
		})
	}
	less := func(names ...string) func() []byte {
		return change(func(all map[string]*Array) {
			for _, name := range names {
				delete(all, name)
			}
		})
	}
	return map[string]func() []byte{
		"weight-nan":             value("vision_model.encoder.layers.0.mlp.fc1.weight", math.NaN()),
		"weight-infinite":        value("text_projection.weight", math.Inf(-1)),
		"logit-scale-huge":       value("logit_scale", 80),
		"logit-scale-nan":        value("logit_scale", math.NaN()),
		"logit-scale-list":       shape("logit_scale", 2),
		"shape-of-other-layer":   shape("text_model.encoder.layers.0.self_attn.q_proj.weight", 32, 64),
		"shape-transposed":       shape("visual_projection.weight", 64, 16),
		"patches-not-square":     shape("vision_model.embeddings.patch_embedding.weight", 64, 3, 4, 8),
		"patches-of-one-channel": shape("vision_model.embeddings.patch_embedding.weight", 64, 1, 4, 4),
		"patches-flat":           shape("vision_model.embeddings.patch_embedding.weight", 64, 48),
		"positions-no-square":    shape("vision_model.embeddings.position_embedding.weight", 7, 64),
		"positions-one":          shape("vision_model.embeddings.position_embedding.weight", 1, 64),
		"width-zero":             shape("text_model.embeddings.token_embedding.weight", 514, 0),
		"vocabulary-none":        shape("text_model.embeddings.token_embedding.weight", 0, 64),
		"vocabulary-one":         shape("text_model.embeddings.token_embedding.weight", 1, 64),
		"dimension-zero":         shape("text_projection.weight", 0, 64),
		"bias-missing":           less("vision_model.encoder.layers.0.mlp.fc2.bias"),
		"logit-scale-missing":    less("logit_scale"),
		"layer-with-gate":        more("vision_model.encoder.layers.0.gate.weight"),
		"layer-a-million":        more("vision_model.encoder.layers.1000000.mlp.fc1.weight"),
		"layer-nine-thousand":    more("vision_model.encoder.layers.9000.mlp.fc1.weight"),
		"siglip":                 more("vision_model.head.probe", "logit_bias"),
		"timm":                   more("visual.trunk.stem.weight"),
		"adapter":                func() []byte { return Safetensors([]Array{{"base_model.lora_A.weight", []int{1}, []float32{1}}}) },
		"one-tower": change(func(all map[string]*Array) {
			maps.DeleteFunc(all, func(name string, _ *Array) bool { return strings.HasPrefix(name, "vision_model") })
		}),
	}
}

// archives are zip files that are no checkpoint's.
func archives() map[string]func() []byte {
	good := func() []byte { return Torch(Model()) }
	raw := func(f func(z *zip.Writer) error) func() []byte {
		return func() []byte {
			var b bytes.Buffer
			z := zip.NewWriter(&b)
			if err := f(z); err != nil {
				panic(err)
			}
			if err := z.Close(); err != nil {
				panic(err)
			}
			return b.Bytes()
		}
	}
	put := func(z *zip.Writer, name string, method uint16, data []byte) error {
		w, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: method})
		if err == nil {
			_, err = w.Write(data)
		}
		return err
	}
	return map[string]func() []byte{
		"zip-cut":       func() []byte { g := good(); return g[:len(g)/2] },
		"zip-cut-tail":  func() []byte { g := good(); return g[:len(g)-10] },
		"zip-head":      func() []byte { return []byte("PK\x03\x04") },
		"zip-none":      raw(func(*zip.Writer) error { return nil }),
		"zip-no-pickle": raw(func(z *zip.Writer) error { return put(z, "archive/version", zip.Store, []byte("3\n")) }),
		"zip-in-zip":    raw(func(z *zip.Writer) error { return put(z, "SkyCLIP/epoch_20.pt", zip.Store, []byte("PK")) }),
		"zip-bomb":      raw(func(z *zip.Writer) error { return put(z, "archive/data.pkl", zip.Deflate, make([]byte, 8<<20)) }),
		"zip-pickle-large": raw(func(z *zip.Writer) error {
			return put(z, "archive/data.pkl", zip.Store, make([]byte, 17<<20))
		}),
		"zip-storage-packed": raw(func(z *zip.Writer) error {
			if err := put(z, "archive/data.pkl", zip.Store, []byte(state(view{"a", "FloatStorage", "0", 1 << 20, 0, []int{1 << 20}, []int{1}}))); err != nil {
				return err
			}
			return put(z, "archive/data/0", zip.Deflate, make([]byte, 4<<20))
		}),
		"zip-member-twice": raw(func(z *zip.Writer) error {
			if err := put(z, "archive/data.pkl", zip.Store, []byte("\x80\x02}.")); err != nil {
				return err
			}
			return put(z, "archive/data.pkl", zip.Store, []byte("\x80\x02]."))
		}),
		"zip-members-many": raw(func(z *zip.Writer) error {
			for i := range 70_000 {
				if err := put(z, fmt.Sprintf("archive/data/%064d", i), zip.Store, nil); err != nil {
					return err
				}
			}
			return nil
		}),
		"zip-members-overlap": func() []byte { // the second member's entry points at the first's bytes
			b := archive("\x80\x02}.", map[string][]byte{"data/0": []byte("0123"), "data/1": []byte("4567")})
			first, second := bytes.Index(b, []byte("PK\x01\x02")), bytes.LastIndex(b, []byte("PK\x01\x02"))
			copy(b[second+42:second+46], b[first+42:first+46])
			copy(b[second+20:second+28], b[first+20:first+28])
			return b
		},
		"zip-member-beyond": func() []byte {
			b := archive("\x80\x02}.", map[string][]byte{"data/0": []byte("0123")})
			at := bytes.LastIndex(b, []byte("PK\x01\x02"))
			binary.LittleEndian.PutUint32(b[at+20:], 0x7fffffff)
			binary.LittleEndian.PutUint32(b[at+24:], 0x7fffffff)
			return b
		},
	}
}

// legacies are files from before PyTorch 1.6.
func legacies() map[string]func() []byte {
	one := state(view{"a", "FloatStorage", "0", 4, 0, []int{4}, []int{1}})
	keys := "\x80\x02]X\x01\x00\x00\x000a."
	count := func(n uint64, data int) string {
		return string(binary.LittleEndian.AppendUint64(nil, n)) + string(make([]byte, data))
	}
	file := func(parts ...string) func() []byte {
		return func() []byte { return []byte(strings.Join(parts, "")) }
	}
	return map[string]func() []byte{
		"legacy-plain-pickle":    file("\x80\x02}."),
		"legacy-other-magic":     file("\x80\x02\x8a\x0a0123456789.", one),
		"legacy-other-version":   file(strings.Replace(legacyHead, "M\xe9\x03", "M\xea\x03", 1), one, keys, count(4, 16)),
		"legacy-no-storages":     file(legacyHead, one, keys),
		"legacy-no-list":         file(legacyHead, one, "\x80\x02N."),
		"legacy-cut":             file(legacyHead, one, keys, count(4, 15)),
		"legacy-more":            file(legacyHead, one, keys, count(4, 17)),
		"legacy-count-2^61":      file(legacyHead, one, keys, count(1<<61, 16)),
		"legacy-count-negative":  file(legacyHead, one, keys, count(math.MaxUint64, 16)),
		"legacy-other-storage":   file(legacyHead, one, "\x80\x02]X\x01\x00\x00\x001a.", count(4, 16)),
		"legacy-storage-twice":   file(legacyHead, one, "\x80\x02](X\x01\x00\x00\x000X\x01\x00\x00\x000e.", count(4, 16), count(4, 16)),
		"legacy-keys-of-numbers": file(legacyHead, one, "\x80\x02](K\x00K\x01e.", count(4, 16)),
		"legacy-code":            file(legacyHead, "\x80\x02cos\nsystem\n(X\x04\x00\x00\x00truetR.", keys),
	}
}

// trees are flax files.
func trees() map[string]func() []byte {
	raw := func(parts ...string) func() []byte {
		return func() []byte { return []byte(strings.Join(parts, "")) }
	}
	array := func(dtype string, shape []int, data int) string {
		return string(packArray(nil, dtype, shape, make([]byte, data)))
	}
	chunked := func(shape, chunks string) func() []byte {
		return raw("\x81\xa1a\x83\xb9__msgpack_chunked_array__\xc3\xa5shape", shape, "\xa6chunks", chunks)
	}
	good := func() []byte { return Flax(Model()) }
	return map[string]func() []byte{
		"cut":                  func() []byte { g := good(); return g[:len(g)-1] },
		"cut-in-name":          raw("\x81\xaate"),
		"more":                 func() []byte { return append(good(), 0xc0) },
		"map-of-2^32":          raw("\x81\xa1a\xdf\xff\xff\xff\xff\xa1a"),
		"map-nested":           raw(strings.Repeat("\x81\xa1a", 100_000), "\xc0"),
		"map-key-number":       raw("\x81\xa1a\x81\x01\xc0"),
		"list":                 raw("\x81\xa1a\x93\x01\x02\x03"),
		"list-of-2^32":         raw("\x81\xa1a\xdd\xff\xff\xff\xff"),
		"text-of-2^32":         raw("\x81\xdb\xff\xff\xff\xffa"),
		"name-twice":           raw("\x82\xa1a", array("float32", []int{1}, 4), "\xa1a", array("float32", []int{1}, 4)),
		"name-empty":           raw("\x81\xa0", array("float32", []int{1}, 4)),
		"name-nul":             raw("\x81\xa2a\x00", array("float32", []int{1}, 4)),
		"extension-other":      raw("\x81\xa1a\xd4\x05\x00"),
		"extension-beyond":     raw("\x81\xa1a\xc9\xff\xff\xff\xff\x01\x93\x90"),
		"extension-empty":      raw("\x81\xa1a\xc7\x00\x01"),
		"extension-no-list":    raw("\x81\xa1a\xd5\x01\xc0\xc0"),
		"array-type":           raw("\x81\xa1a", array("float8_e4m3", []int{4}, 4)),
		"array-short":          raw("\x81\xa1a", array("float32", []int{4}, 15)),
		"array-shape-wraps":    raw("\x81\xa1a", array("float32", []int{1 << 31, 1 << 31, 4}, 0)),
		"array-shape-of-nine":  raw("\x81\xa1a", array("float32", []int{1, 1, 1, 1, 1, 1, 1, 1, 1}, 4)),
		"array-shape-negative": raw("\x81\xa1a\xc7\x0f\x01\x93\x91\xff\xa7float32\xc4\x00\xc0"),
		"chunks-missing":       chunked("\x81\xa10\x04", "\x80"),
		"chunks-gap":           chunked("\x81\xa10\x04", "\x82\xa10"+array("float32", []int{2}, 8)+"\xa12"+array("float32", []int{2}, 8)),
		"chunks-twice":         chunked("\x81\xa10\x04", "\x82\xa10"+array("float32", []int{2}, 8)+"\xa10"+array("float32", []int{2}, 8)),
		"chunks-mixed":         chunked("\x81\xa10\x04", "\x82\xa10"+array("float32", []int{2}, 8)+"\xa11"+array("float16", []int{2}, 4)),
		"chunks-short":         chunked("\x81\xa10\x04", "\x81\xa10"+array("float32", []int{2}, 8)),
		"chunks-of-2^16":       chunked("\x81\xa10\x04", "\xde\xff\xff"),
		"chunks-shape-gap":     chunked("\x82\xa10\x04\xa17\x04", "\x81\xa10"+array("float32", []int{2}, 8)),
		"chunks-no-array":      chunked("\x81\xa10\x04", "\x81\xa10\xc0"),
		"nothing":              raw("\x81\xa1a\xc0"),
		"byte-reserved":        raw("\x81\xa1a\xc1"),
	}
}
