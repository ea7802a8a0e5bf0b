package source_test

import (
	"bytes"
	"errors"
	"image"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/internal/reject"
	"github.com/tilescout/tilescout/tileserver/source"
	"github.com/tilescout/tilescout/tileserver/source/hostile"
)

// passing are pictures that Check lets through: what is wrong with them shows when they are decoded, at a price that
// their size bounds.
var passing = strings.Fields(`
		png-checksum-of-data png-interlaced-without-data png-filter-type-9 png-palette-missing png-palette-of-1-index-255
		png-palette-of-257 png-transparency-before png-header-twice png-data-missing png-data-bomb png-data-not-zlib png-data-too-short
		png-data-in-100000-chunks png-data-behind-other-chunk png-text-bomb png-profile-bomb png-critical-chunk-unknown png-end-before-data
		png-animation-of-65535-frames
		jpg-claims-1024-px jpg-progressive-1024-no-data jpg-progressive-64-scans jpg-frame-twice jpg-sampling-0 jpg-sampling-15
		jpg-table-4-of-4 jpg-huffman-overfull jpg-huffman-missing jpg-restart-interval-1 jpg-comments-7-mb
		webp-claims-1024-px-no-data webp-claims-1024-px-lossy webp-alpha-cut webp-alpha-bomb webp-alpha-filter-3 webp-profile-6-mb
		webp-huffman-zeros webp-huffman-ones webp-transforms-endless webp-length-0
		webp-lossless-damaged-at-26 webp-lossless-damaged-at-30 webp-lossless-damaged-at-40 webp-lossless-damaged-at-60`)

func TestHostilePictures(t *testing.T) {
	n := 0
	for name, data := range hostile.Files() {
		n++
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := source.Check(data, source.Limits{})
			bare, _, _ := strings.Cut(name, ".")
			if want := slices.Contains(passing, bare); want != (err == nil) {
				t.Errorf("Check: %v, should pass: %v", err, want)
			}
			if err != nil {
				if _, ok := reject.Of(err); !ok || !errors.Is(err, tilescout.ErrBadInput) || strings.Contains(err.Error(), "\n") {
					t.Errorf("Check: %v, want one line with a named reason", err)
				}
				return
			}
			_, _, err = image.Decode(bytes.NewReader(data))
			runtime.ReadMemStats(&after)
			if spent := after.TotalAlloc - before.TotalAlloc; spent > 64<<20 {
				t.Errorf("decoding took %d MiB", spent>>20)
			}
			t.Logf("decode: %v, %d KiB, %v", err, (after.TotalAlloc-before.TotalAlloc)>>10, time.Since(start))
		})
	}
	if n < 60 {
		t.Errorf("%d pictures, want at least 60", n)
	}
	for ext, data := range hostile.Good() {
		if _, err := source.Check(data, source.Limits{}); err != nil {
			t.Errorf("good %s: %v", ext, err)
		}
	}
}
