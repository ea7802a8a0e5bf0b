// Package kinds opens a source of any kind by what its Spec says: a URL template, or a file by its content.
//
//	src, err := kinds.Open(ctx, source.Spec{ID: "city", Source: "ortho/city.mbtiles"}, kinds.Options{})
//	defer src.Close()
package kinds

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/tileserver/source"
	"github.com/tilescout/tilescout/tileserver/source/geotiff"
	"github.com/tilescout/tilescout/tileserver/source/mbtiles"
	"github.com/tilescout/tilescout/tileserver/source/picture"
	"github.com/tilescout/tilescout/tileserver/source/pmtiles"
	"github.com/tilescout/tilescout/tileserver/source/remote"
	"github.com/tilescout/tilescout/tileserver/source/wms"
	"github.com/tilescout/tilescout/tileserver/source/wmts"
	"github.com/tilescout/tilescout/tileserver/source/xyz"
)

// Options of all kinds; the zero value works.
type Options struct {
	XYZ     xyz.Options // share Hosts and Cache among all layers
	MBTiles mbtiles.Options
	PMTiles pmtiles.Options
	GeoTIFF geotiff.Options
	Picture picture.Options
	Blocks  *remote.Cache // of files behind URLs; nil means 32 MiB for each
}

// Kind names a way to hold tiles.
type Kind string

// The kinds that Open knows.
const (
	XYZ     Kind = "xyz"     // a URL template
	MBTiles Kind = "mbtiles" // an SQLite file
	GeoTIFF Kind = "geotiff" // a TIFF with a place on the earth, COG included
	Mosaic  Kind = "mosaic"  // a folder, a pattern or a list of TIFFs
	PMTiles Kind = "pmtiles" // a PMTiles v3 file
	Picture Kind = "picture" // a photograph without a place on the earth
	WMTS    Kind = "wmts"    // a service, by its capabilities
	WMS     Kind = "wms"     // a service, by its capabilities
	URL     Kind = "url"     // what is behind it shows when it is opened: see openURL
)

// Open opens the source of spec. What is wrong with spec or with the file is ErrBadInput, in one line.
func Open(ctx context.Context, spec source.Spec, o Options) (source.Source, error) {
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	kind, err := Detect(spec.Source)
	if err != nil {
		return nil, fmt.Errorf("layer %s: %w", spec.ID, err)
	}
	switch kind {
	case XYZ:
		return opened(xyz.Open(ctx, spec, o.XYZ))
	case WMTS:
		return opened(wmts.Open(ctx, spec, o.XYZ))
	case WMS:
		return opened(wms.Open(ctx, spec, o.XYZ))
	case URL:
		return openURL(ctx, spec, o)
	case Picture:
		return opened(picture.Open(ctx, picturePath(spec.Source), spec.Info(), o.Picture))
	}
	spec.Source = filePath(spec.Source)
	switch kind {
	case MBTiles:
		return opened(mbtiles.Open(ctx, spec, o.MBTiles))
	case PMTiles:
		return opened(pmtiles.Open(ctx, spec, o.PMTiles))
	case GeoTIFF:
		return opened(geotiff.OpenWith(ctx, spec.Source, spec.Info(), o.GeoTIFF.For(spec)))
	case Mosaic:
		return opened(geotiff.OpenMosaic(ctx, spec.Source, spec.Info(), o.GeoTIFF.For(spec)))
	}
	return nil, fmt.Errorf("layer %s: %s is a %s file, which this build does not read: %w", spec.ID, spec.Source, kind, tilescout.ErrBadInput)
}

// opened keeps a nil *Source of a kind from becoming a source.Source that is not nil.
func opened[S source.Source](src S, err error) (source.Source, error) {
	if err != nil {
		return nil, err
	}
	return src, nil
}

var urlScheme = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]+://`)

// Detect tells the kind of a source: a URL by its scheme and placeholders, a file by its first bytes, whatever its
// name. It reads at most 512 bytes of a file and asks no server. All errors are ErrBadInput.
func Detect(text string) (Kind, error) {
	if strings.HasPrefix(text, picturePrefix) {
		return Picture, nil
	}
	scheme := strings.ToLower(strings.TrimSuffix(urlScheme.FindString(text), "://"))
	switch scheme {
	case "", "file":
		return detectFile(filePath(text))
	case "http", "https":
		if strings.Contains(strings.ReplaceAll(text, "${", ""), "{") {
			return XYZ, nil
		}
		return URL, nil
	case "wmts+http", "wmts+https":
		return WMTS, nil
	case "wms+http", "wms+https":
		return WMS, nil
	}
	return "", fmt.Errorf("source scheme %q is not known: give a file, http:// or https://, wmts+https:// or wms+https://: %w", scheme, tilescout.ErrBadInput)
}

// picturePrefix asks for a file to be opened as a photograph without a place. It is asked for by name: an orthophoto
// that has lost its world file must not land unnoticed off the coast of Africa.
const picturePrefix = "picture:"

func picturePath(text string) string { return strings.TrimPrefix(text, picturePrefix) }

// filePath returns the path of a file source, which may be written as file:///path.
func filePath(text string) string {
	if rest, ok := strings.CutPrefix(text, "file://"); ok {
		return filepath.FromSlash(strings.TrimPrefix(rest, "localhost"))
	}
	return text
}

func detectFile(path string) (Kind, error) {
	if geotiff.IsList(path) {
		return Mosaic, nil
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "", fmt.Errorf("source %s: no such file: %w", path, tilescout.ErrBadInput)
	case err != nil:
		return "", fmt.Errorf("source %s: %v: %w", path, errors.Unwrap(err), tilescout.ErrBadInput)
	case !info.Mode().IsRegular(): // opening a pipe would wait for its writer
		return "", fmt.Errorf("source %s is not a regular file: %w", path, tilescout.ErrBadInput)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("source %s: %v: %w", path, errors.Unwrap(err), tilescout.ErrBadInput)
	}
	defer f.Close()
	head, err := io.ReadAll(io.LimitReader(f, 512))
	if err != nil {
		return "", fmt.Errorf("source %s: %v: %w", path, err, tilescout.ErrBadInput)
	}
	if kind := sniff(head); kind != "" {
		return kind, nil
	}
	return "", fmt.Errorf("source %s is %s; known are GeoTIFF (.tif), MBTiles, PMTiles and URL templates: %w", path, describe(head), tilescout.ErrBadInput)
}

func sniff(head []byte) Kind {
	for _, k := range []struct {
		magic string
		kind  Kind
	}{
		{"SQLite format 3\x00", MBTiles},
		{"II*\x00", GeoTIFF}, {"MM\x00*", GeoTIFF}, // classic TIFF
		{"II+\x00", GeoTIFF}, {"MM\x00+", GeoTIFF}, // BigTIFF
		{"PMTiles", PMTiles},
	} {
		if strings.HasPrefix(string(head), k.magic) {
			return k.kind
		}
	}
	return ""
}

func describe(head []byte) string {
	if mediaType := source.Sniff(head); mediaType != "" {
		return "a single picture (" + mediaType + ") without a place on the earth (write picture:FILE to search inside it all the same)"
	}
	if len(head) == 0 {
		return "empty"
	}
	return source.Describe(head)
}
