package hostile

import (
	"fmt"
	"math"
	"strings"
)

// typeOf is the type that a tag that readers look at usually has.
var typeOf = map[uint16]uint16{
	254: 4, 256: 4, 257: 4, 258: 3, 259: 3, 262: 3, 266: 3, 273: 4, 277: 3, 278: 4, 279: 4, 284: 3, 317: 3, 320: 3, 322: 4, 323: 4,
	324: 4, 325: 4, 330: 13, 338: 3, 339: 3, 347: 7, 33550: 12, 33922: 12, 34264: 12, 34735: 3, 34736: 12, 34737: 2, 42113: 2, 50844: 12,
}

// values are tags that claim what is not there.
func values(put func(string, []byte)) {
	f := classic
	for id := uint16(254); id < 50845; id++ {
		typ, known := typeOf[id]
		if !known {
			continue
		}
		for name, e := range map[string]entry{
			"all": claim(id, typ, 1<<32-1, 8), "outside": claim(id, typ, 100, 1<<30), "gigabyte": claim(id, typ, 1<<27, 8),
			"type-99": claim(id, 99, 1, 8), "type-complex": claim(id, 6, 3, 8), "none": {id: id, typ: typ},
		} {
			if name == "type-complex" && id%2 == 1 || name == "gigabyte" && id%2 == 0 {
				continue // enough of them
			}
			put(fmt.Sprintf("%d-%s", id, name), f.file(grey, with(f.image(), e)))
		}
	}
	g := bigTIFF
	for _, count := range []uint64{1 << 40, 1 << 46, 1 << 50, 1<<61 + 1, 1 << 63, math.MaxUint64} {
		put(fmt.Sprintf("big-bytes-%d", count), g.file(grey, with(g.image(), claim(347, 7, count, 16))))
		put(fmt.Sprintf("big-doubles-%d", count), g.file(grey, with(g.image(), claim(33550, 12, count, 16))))
		put(fmt.Sprintf("big-offsets-%d", count), g.file(grey, with(g.image(), claim(273, 16, count, 16))))
	}
	four := f.image()
	for _, id := range []uint16{347, 34737, 42113, 34735} {
		four = with(four, claim(id, typeOf[id], 1<<30/2, 1<<31))
	}
	put("four-gigabytes", f.file(grey, four))
	put("nodata-long", f.file(grey, with(f.image(), text(42113, strings.Repeat("9", 70000)))))
	put("nodata-exponent", f.file(grey, with(f.image(), text(42113, "1e999999999"))))
	put("nodata-words", f.file(grey, with(f.image(), text(42113, "nanananan\x00inf"))))
	put("ascii-two-mebibytes", f.file(grey, with(f.image(), text(34737, strings.Repeat("x", 2<<20)))))
}

// sizes are pictures that are larger than their file, or nothing.
func sizes(put func(string, []byte)) {
	f := classic
	for name, list := range map[string][]entry{
		"width-0": with(f.image(), f.long(256, 0)), "height-0": with(f.image(), f.long(257, 0)),
		"width-of-all": with(f.image(), f.long(256, 1<<32-1)), "both-of-all": with(f.image(), f.long(256, 1<<32-1), f.long(257, 1<<32-1), f.long(278, 1<<32-1)),
		"width-2-31": with(f.image(), f.long(256, 1<<31)), "sixty-thousand-a-side": with(f.image(), f.long(256, 60000), f.long(257, 60000), f.long(278, 60000)),
		"tall-strip":       with(f.image(), f.long(257, 1<<31-1), f.long(278, 1<<31-1)),
		"tall-packed":      with(f.image(), f.long(257, 1<<31-1), f.long(278, 1<<31-1), f.short(259, 8)),
		"rows-0":           with(f.image(), f.long(278, 0)),
		"rows-of-all":      with(f.image(), f.long(278, 1<<32-1)),
		"samples-0":        with(f.image(), f.short(277, 0)),
		"samples-65":       with(f.image(), f.short(277, 65)),
		"samples-65535":    with(f.image(), f.short(277, 65535), f.short(284, 2)),
		"bits-0":           with(f.image(), f.short(258, 0)),
		"bits-17":          with(f.image(), f.short(258, 17)),
		"bits-65535":       with(f.image(), f.short(258, 65535)),
		"bits-mixed":       with(f.image(), f.short(258, 8, 16, 8), f.short(277, 3)),
		"bits-64":          with(f.image(), f.short(258, 64)),
		"bits-many":        with(f.image(), f.short(258, repeated(60000, 8)...)),
		"format-9":         with(f.image(), f.short(339, 9)),
		"format-complex":   with(f.image(), f.short(339, 6), f.short(258, 64)),
		"format-mixed":     with(f.image(), f.short(339, 1, 3), f.short(277, 2), f.short(258, 32)),
		"float-of-8":       with(f.image(), f.short(339, 3)),
		"planar-0":         with(f.image(), f.short(284, 0)),
		"planar-3":         with(f.image(), f.short(284, 3)),
		"predictor-9":      with(f.image(), f.short(317, 9), f.short(259, 8)),
		"predictor-3-int":  with(f.image(), f.short(317, 3), f.short(259, 8)),
		"predictor-2-bits": with(f.image(), f.short(317, 2), f.short(259, 8), f.short(258, 4)),
		"photometric-99":   with(f.image(), f.short(262, 99)),
		"photometric-rgb":  with(f.image(), f.short(262, 2)),
		"photometric-ycc":  with(f.image(), f.short(262, 6), f.short(277, 3)),
		"palette-none":     with(f.image(), f.short(262, 3)),
		"palette-short":    with(f.image(), f.short(262, 3), f.short(320, 1, 2, 3)),
		"palette-16":       with(f.image(), f.short(262, 3), f.short(258, 16), f.short(320, repeated(60000, 1)...)),
		"extra-many":       with(f.image(), f.short(338, repeated(1000, 1)...)),
		"fill-order":       with(f.image(), f.short(266, 2)),
		"compression-0":    with(f.image(), f.short(259, 0)), "compression-6": with(f.image(), f.short(259, 6)), "compression-65535": with(f.image(), f.short(259, 65535)),
		"tile-0": f.tiled(8, 8, 0, f.long(324, pixelsAt), f.long(325, 64)), "tile-2-31": f.tiled(8, 8, 1<<31, f.long(324, pixelsAt), f.long(325, 64)),
		"tile-9000": f.tiled(8, 8, 9000, f.long(324, pixelsAt), f.long(325, 64)), "tile-no-height": without(f.tiled(8, 8, 16, f.long(324, pixelsAt), f.long(325, 64)), 323),
		"tile-1-of-a-million-a-side": f.tiled(1000000, 1000000, 1, f.long(324, pixelsAt), f.long(325, 1)),
		"tile-too-few-offsets":       f.tiled(1000, 1000, 16, f.long(324, pixelsAt), f.long(325, 256)),
		"tile-too-many-offsets":      f.tiled(16, 16, 16, f.long(324, repeated(1000, pixelsAt)...), f.long(325, repeated(1000, 256)...)),
		"tile-fewer-counts":          f.tiled(32, 16, 16, f.long(324, pixelsAt, pixelsAt), f.long(325, 64)),
	} {
		put(name, f.file(grey, list))
	}
	for _, side := range []int{46341, 65536, 1 << 30, 1<<31 - 1} {
		put(fmt.Sprintf("side-%d", side), f.file(grey, with(f.image(), f.long(256, side), f.long(257, side))))
	}
}

// places lie nowhere on the earth, or everywhere.
func places(put func(string, []byte)) {
	f := classic
	keys := func(v ...int) entry { return f.short(34735, v...) }
	at := func(scaleX, scaleY, x, y float64) []entry {
		return with(f.image(), f.double(33550, scaleX, scaleY, 0), f.double(33922, 0, 0, 0, x, y, 0))
	}
	degrees := keys(1, 1, 0, 2, 1024, 0, 1, 2, 2048, 0, 1, 4326)
	nan, inf := math.NaN(), math.Inf(1)
	for name, list := range map[string][]entry{
		"no-keys": without(f.image(), 34735), "one-key-value": with(f.image(), keys(1)), "keys-version-2": with(f.image(), keys(2, 1, 0, 0)),
		"keys-65535": with(f.image(), keys(1, 1, 0, 65535)), "keys-cut": with(f.image(), keys(1, 1, 0, 3, 1024, 0, 1)),
		"keys-text-outside":    with(f.image(), keys(1, 1, 0, 1, 1026, 34737, 65535, 65535), text(34737, "x")),
		"keys-numbers-outside": with(f.image(), keys(1, 1, 0, 2, 2048, 0, 1, 32767, 2057, 34736, 1, 65535), f.double(34736, 1)),
		"keys-of-nothing":      with(f.image(), keys(1, 1, 0, 0)),
		"epsg-0":               with(f.image(), keys(1, 1, 0, 1, 3072, 0, 1, 0)), "epsg-1": with(f.image(), keys(1, 1, 0, 1, 3072, 0, 1, 1)),
		"epsg-65535": with(f.image(), keys(1, 1, 0, 1, 3072, 0, 1, 65535)), "epsg-own": with(f.image(), keys(1, 1, 0, 1, 3072, 0, 1, 32767)),
		"mars":      with(f.image(), keys(1, 1, 0, 3, 1024, 0, 1, 2, 2048, 0, 1, 32767, 2057, 34736, 1, 0), f.double(34736, 3396190)),
		"scale-nan": at(nan, 1, 0, 0), "scale-inf": at(inf, inf, 0, 0), "scale-0": at(0, 0, 0, 0), "scale-tiny": at(5e-324, 5e-324, 0, 0), "scale-huge": at(1e308, 1e308, 0, 0),
		"scale-small": at(1e-200, 1e-200, 0, 0), "tie-nan": at(1, 1, nan, nan), "tie-inf": at(1, 1, inf, 0), "tie-far": at(1, 1, 1e30, 1e30), "tie-1e300": at(1e290, 1e290, 1e300, 1e300),
		"scale-of-one": with(f.image(), f.double(33550, 1)), "tie-of-two": with(f.image(), f.double(33922, 1, 2)), "no-scale": without(f.image(), 33550),
		"control-points": with(without(f.image(), 33550), f.double(33922, make([]float64, 60)...)),
		"flat":           with(f.image(), f.double(34264, make([]float64, 16)...)), "sheared-flat": with(f.image(), f.double(34264, 1, 1, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1)),
		"matrix-nan": with(f.image(), f.double(34264, nan, 0, 0, 0, 0, nan, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1)), "matrix-short": with(f.image(), f.double(34264, 1, 2, 3)),
		"degrees-1000": with(at(1, 1, 0, 1000), degrees), "degrees-wide": with(at(1e6, 1, 0, 0), degrees), "pole": with(at(1, 1e-9, 0, 90), degrees), "turns": with(at(0.1, 0.1, 7000, 0), degrees),
		"beyond-mercator": with(at(0.1, 0.1, 0, 89.99), degrees), "everywhere": with(at(45, 22.5, -180, 90), degrees), "line": with(at(45, 1e-12, -180, 0), degrees),
	} {
		put(name, f.file(grey, list))
	}
	for _, code := range []int{32601, 32660, 32733, 2154, 3035, 27700, 28992, 2056, 5070, 3577, 31467} {
		for name, list := range map[string][]entry{
			"far": at(1, 1, 1e9, -1e9), "antipode": at(1e6, 1e6, -4e6, 4e6), "wide": at(1e7, 1e7, -4e7, 4e7), "small": at(1e-9, 1e-9, 500000, 200000),
		} {
			put(fmt.Sprintf("epsg-%d-%s", code, name), f.file(grey, with(list, keys(1, 1, 0, 2, 1024, 0, 1, 1, 3072, 0, 1, code))))
		}
	}
}
