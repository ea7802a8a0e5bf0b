package kinds

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"path"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/tileserver/source"
	"github.com/tilescout/tilescout/tileserver/source/arcgis"
	"github.com/tilescout/tilescout/tileserver/source/geotiff"
	"github.com/tilescout/tilescout/tileserver/source/pmtiles"
	"github.com/tilescout/tilescout/tileserver/source/remote"
	"github.com/tilescout/tilescout/tileserver/source/tilejson"
	"github.com/tilescout/tilescout/tileserver/source/upstream"
	"github.com/tilescout/tilescout/tileserver/source/wms"
	"github.com/tilescout/tilescout/tileserver/source/wmts"
)

// openURL asks once and opens what comes: WMTS or WMS capabilities, TileJSON, the description of an ArcGIS service, or a
// file that is then read by ranges.
func openURL(ctx context.Context, spec source.Spec, o Options) (source.Source, error) {
	address, client, err := upstream.Dial(spec, o.XYZ)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ask := address.URL.String()
	if arcgis.Is(address.URL) {
		ask = arcgis.Description(address.URL)
	}
	d, err := client.Probe(ctx, ask, func(head []byte) bool { return sniff(head) != "" || source.Sniff(head) != "" })
	if err != nil {
		return nil, fmt.Errorf("layer %s: %w", spec.ID, err)
	}
	if d.File {
		return openRemote(ctx, spec, address, d.Data, o)
	}
	shown := client.Shown(ask)
	switch text := bytes.TrimSpace(bytes.TrimPrefix(d.Data, []byte("\ufeff"))); {
	case bytes.HasPrefix(text, []byte("{")):
		if arcgis.Is(address.URL) || bytes.Contains(text, []byte(`"tileInfo"`)) {
			return opened(arcgis.OpenDocument(spec, d, o.XYZ))
		}
		return opened(tilejson.OpenDocument(ctx, spec, d, o.XYZ))
	case source.Describe(d.Data) == "an HTML page":
		return nil, fmt.Errorf("layer %s: GET %s: the answer is an HTML page; for tiles write {z}, {x} and {y} into the URL, for a service wmts+https:// or wms+https://: %w", spec.ID, shown, tilescout.ErrBadInput)
	case bytes.HasPrefix(text, []byte("<")), bytes.HasPrefix(d.Data, []byte("\xff\xfe")), bytes.HasPrefix(d.Data, []byte("\xfe\xff")):
		root, err := upstream.RootElement(d.Data)
		switch {
		case err != nil:
			return nil, fmt.Errorf("layer %s: GET %s: %w", spec.ID, shown, err)
		case root == "Capabilities":
			return opened(wmts.OpenDocument(spec, d, o.XYZ))
		case root == "WMS_Capabilities", root == "WMT_MS_Capabilities":
			return opened(wms.OpenDocument(spec, d, o.XYZ))
		}
		if says := upstream.ExceptionText(d.Data); says != "" {
			return nil, fmt.Errorf("layer %s: GET %s: the server says: %s; write wmts+https:// or wms+https:// for a service: %w", spec.ID, shown, says, upstream.ErrCapabilities)
		}
		return nil, fmt.Errorf("layer %s: GET %s: the document is <%.40s>, neither WMTS nor WMS capabilities: %w", spec.ID, shown, root, upstream.ErrCapabilities)
	}
	return nil, fmt.Errorf("layer %s: GET %s: the answer is %s; known are URL templates with {z}, {x} and {y}, WMTS and WMS capabilities, TileJSON, ArcGIS services and PMTiles: %w",
		spec.ID, shown, source.Describe(d.Data), tilescout.ErrBadInput)
}

// openRemote opens a file behind a URL by its first bytes.
func openRemote(ctx context.Context, spec source.Spec, address upstream.Address, head []byte, o Options) (source.Source, error) {
	kind := sniff(head)
	if kind != PMTiles && kind != GeoTIFF {
		what := string(kind) + " file"
		if kind == "" {
			what = "single picture"
		}
		return nil, fmt.Errorf("layer %s: behind the URL is a %s, which is not read from there; copy it here: %w", spec.ID, what, tilescout.ErrBadInput)
	}
	f, err := remoteFile(ctx, spec, address, o)
	if err != nil {
		return nil, fmt.Errorf("layer %s: %w", spec.ID, err)
	}
	if kind == GeoTIFF {
		return opened(geotiff.OpenObject(ctx, f, path.Base(address.URL.Path), spec.Info(), o.GeoTIFF.For(spec)))
	}
	return opened(pmtiles.OpenObject(ctx, spec, f, o.PMTiles))
}

// remoteFile opens the file with the guard of all upstreams, and with their headers.
func remoteFile(ctx context.Context, spec source.Spec, address upstream.Address, o Options) (*remote.File, error) {
	hosts := []string{address.URL.Host}
	header, err := upstream.Header(spec, o.XYZ)
	if err != nil {
		return nil, err
	}
	ro := remote.Options{Transport: http.RoundTripper(upstream.Transport(spec, hosts, o.XYZ)), Header: header, Concurrency: spec.MaxConcurrency, Cache: o.Blocks}
	ro.UserAgent = header.Get("User-Agent")
	return remote.Open(ctx, address.URL.String(), ro)
}
