package wms

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/tileserver/source"
	"github.com/tilescout/tilescout/tileserver/source/resample"
	"github.com/tilescout/tilescout/tileserver/source/upstream"
)

const seed = `<WMS_Capabilities version="1.3.0" xmlns:xlink="http://www.w3.org/1999/xlink"><Service><MaxWidth>2000</MaxWidth></Service><Capability><Request><GetMap><Format>image/png</Format>
<DCPType><HTTP><Get><OnlineResource xlink:href="https://h.example/wms?"/></Get></HTTP></DCPType></GetMap></Request>
<Layer><Title>r</Title><CRS>EPSG:3857</CRS><CRS>EPSG:25832</CRS><Layer opaque="1"><Name>a</Name><Style><Name>s</Name></Style><Dimension name="time" default="1">1,2</Dimension><MinScaleDenominator>1000</MinScaleDenominator>
<EX_GeographicBoundingBox><westBoundLongitude>170</westBoundLongitude><eastBoundLongitude>-170</eastBoundLongitude><southBoundLatitude>-10</southBoundLatitude><northBoundLatitude>10</northBoundLatitude></EX_GeographicBoundingBox></Layer></Layer></Capability></WMS_Capabilities>`

// FuzzCapabilities: whatever the document, it opens or is ErrBadInput, and asks only where it may for sizes that it may.
func FuzzCapabilities(f *testing.F) {
	f.Add([]byte(seed))
	f.Add([]byte(strings.NewReplacer(`version="1.3.0"`, `version="1.1.1"`, "WMS_Cap", "WMT_MS_Cap", "CRS>", "SRS>", "EPSG:3857", "EPSG:4326").Replace(seed)))
	f.Add([]byte(strings.Replace(seed, "2000", "257", 1)))
	base, err := url.Parse("https://h.example/wms")
	if err != nil {
		f.Fatal(err)
	}
	spec := source.Spec{ID: "fuzz", Source: "wms+https://h.example/wms?key=K"}
	f.Fuzz(func(t *testing.T, data []byte) {
		src, err := OpenDocument(spec, upstream.Document{Data: data, URL: base}, upstream.Options{})
		if err != nil {
			if !errors.Is(err, tilescout.ErrBadInput) || strings.ContainsAny(err.Error(), "\n\x00") || len(err.Error()) > 2000 {
				t.Fatalf("%q (%d bytes), want ErrBadInput in one line", err, len(err.Error()))
			}
			return
		}
		defer src.Close()
		info := src.Info()
		if info.MinZoom > info.MaxZoom || info.MaxZoom > source.MaxZoom {
			t.Fatalf("Info() = %+v", info)
		}
		m, ok := src.ask.mapOf(resample.View{Tile: maptile.New(1, 1, 1), Size: src.ask.size, CRS: src.ask.crs})
		if !ok {
			return
		}
		u, err := url.Parse(src.ask.url(m))
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || m.width < 1 || m.height < 1 || m.width > maxSide || m.height > maxSide || m.box.Empty() {
			t.Fatalf("map %+v at %v, %v", m, u, err)
		}
		if u.Host != "h.example" && strings.Contains(u.RawQuery, "key=K") {
			t.Fatalf("the operator's key goes to %s", u.Host)
		}
	})
}
