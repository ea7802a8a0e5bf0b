package wms

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/paulmach/orb"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/tileserver/source/upstream"
)

// capabilities is what is read of a WMS document, versions 1.0.0 to 1.3.0 (OGC 01-068r3, 06-042).
type capabilities struct {
	Version string `xml:"version,attr"`
	Service struct {
		Title     string `xml:"Title"`
		MaxWidth  string `xml:"MaxWidth"`
		MaxHeight string `xml:"MaxHeight"`
	} `xml:"Service"`
	Formats []string `xml:"Capability>Request>GetMap>Format"`
	Gets    []struct {
		Href string `xml:"href,attr"`
	} `xml:"Capability>Request>GetMap>DCPType>HTTP>Get>OnlineResource"`
	Layers []layer `xml:"Capability>Layer"`
}

type layer struct {
	Opaque   string   `xml:"opaque,attr"`
	Name     string   `xml:"Name"`
	Title    string   `xml:"Title"`
	Abstract string   `xml:"Abstract"`
	SRS      []string `xml:"SRS"` // 1.1.1; several in one element before that
	CRS      []string `xml:"CRS"` // 1.3.0
	LatLon   *struct {
		MinX float64 `xml:"minx,attr"`
		MinY float64 `xml:"miny,attr"`
		MaxX float64 `xml:"maxx,attr"`
		MaxY float64 `xml:"maxy,attr"`
	} `xml:"LatLonBoundingBox"`
	Box *struct {
		West  float64 `xml:"westBoundLongitude"`
		East  float64 `xml:"eastBoundLongitude"`
		South float64 `xml:"southBoundLatitude"`
		North float64 `xml:"northBoundLatitude"`
	} `xml:"EX_GeographicBoundingBox"`
	Styles []struct {
		Name  string `xml:"Name"`
		Title string `xml:"Title"`
	} `xml:"Style"`
	Dimensions  []dimension `xml:"Dimension"`
	Extents     []dimension `xml:"Extent"` // 1.1.1: the values of a Dimension
	Attribution struct {
		Title  string `xml:"Title"`
		Online struct {
			Href string `xml:"href,attr"`
		} `xml:"OnlineResource"`
	} `xml:"Attribution"`
	MinScale string  `xml:"MinScaleDenominator"`
	MaxScale string  `xml:"MaxScaleDenominator"`
	Layers   []layer `xml:"Layer"`
}

type dimension struct {
	Name    string `xml:"name,attr"`
	Default string `xml:"default,attr"`
	Values  string `xml:",chardata"` // list with commas, or ranges
}

// parse reads a capabilities document. All errors are ErrBadInput.
func parse(data []byte, limits upstream.DocumentLimits) (*capabilities, error) {
	root, err := upstream.RootElement(data)
	if err != nil {
		return nil, err
	}
	switch root {
	case "WMS_Capabilities", "WMT_MS_Capabilities":
	case "Capabilities":
		return nil, fmt.Errorf("this is a WMTS: write wmts+https://… instead of wms+https://…: %w", upstream.ErrCapabilities)
	case "ExceptionReport", "ServiceExceptionReport":
		return nil, fmt.Errorf("the server answers with an exception: %s: %w", upstream.ExceptionText(data), upstream.ErrCapabilities)
	default:
		return nil, fmt.Errorf("the document is <%.40s>, not WMS capabilities: %w", root, upstream.ErrCapabilities)
	}
	c := &capabilities{}
	if err := upstream.UnmarshalXML(data, c, limits); err != nil {
		return nil, err
	}
	return c, nil
}

// path is a layer and those that it lies in, outermost first: it inherits from them.
type path []*layer

func (p path) last() *layer { return p[len(p)-1] }

// named returns the paths of all layers that can be asked for.
func (c *capabilities) named() []path {
	var out []path
	var walk func(layers []layer, above path)
	walk = func(layers []layer, above path) {
		for i := range layers {
			p := append(slices.Clip(above), &layers[i])
			if strings.TrimSpace(layers[i].Name) != "" {
				out = append(out, p)
			}
			walk(layers[i].Layers, p)
		}
	}
	walk(c.Layers, nil)
	return out
}

// find returns the layers of a list of names or titles. With none and only one layer there is, that one.
func (c *capabilities) find(list string) ([]path, error) {
	all := c.named()
	var names []string
	for _, p := range all {
		names = append(names, strings.TrimSpace(p.last().Name))
	}
	if list == "" {
		switch len(all) {
		case 0:
			return nil, fmt.Errorf("the capabilities list no layer: %w", upstream.ErrCapabilities)
		case 1:
			return all, nil
		}
		return nil, fmt.Errorf("there are %d layers, choose with layer: %s: %w", len(names), upstream.Choices(names), tilescout.ErrBadInput)
	}
	wanted := strings.Split(list, ",")
	if slices.Contains(names, list) { // a name with a comma in it
		wanted = []string{list}
	}
	var out []path
	for _, name := range wanted {
		name = strings.TrimSpace(name)
		i := slices.Index(names, name)
		if i < 0 {
			i = slices.IndexFunc(names, func(n string) bool { return strings.EqualFold(n, name) })
		}
		if i < 0 {
			i = slices.IndexFunc(all, func(p path) bool { return strings.TrimSpace(p.last().Title) == name })
		}
		if i < 0 {
			return nil, fmt.Errorf("no layer %.60q; there are: %s: %w", name, upstream.Choices(names), tilescout.ErrBadInput)
		}
		out = append(out, all[i])
	}
	return out, nil
}

// systems returns the names of the coordinate reference systems of a layer, those of its parents included.
func (p path) systems() []string {
	var out []string
	for _, l := range p {
		for _, text := range slices.Concat(l.CRS, l.SRS) {
			out = append(out, strings.Fields(text)...)
		}
	}
	return out
}

// bounds returns where the layer is, in degrees; none where the document does not say so or says nonsense.
func (p path) bounds() []orb.Bound {
	for _, l := range slices.Backward(p) {
		var w, s, e, n float64
		switch {
		case l.Box != nil:
			w, s, e, n = l.Box.West, l.Box.South, l.Box.East, l.Box.North
		case l.LatLon != nil:
			w, s, e, n = l.LatLon.MinX, l.LatLon.MinY, l.LatLon.MaxX, l.LatLon.MaxY
		default:
			continue
		}
		if math.IsNaN(w+s+e+n) || s >= n || w == e || math.Abs(s) > 90.01 || math.Abs(n) > 90.01 || math.Abs(w) > 360 || math.Abs(e) > 360 {
			return nil
		}
		w, e = max(w, -180), min(e, 180)
		if w < e {
			return []orb.Bound{{Min: orb.Point{w, s}, Max: orb.Point{e, n}}}
		}
		return []orb.Bound{{Min: orb.Point{w, s}, Max: orb.Point{180, n}}, {Min: orb.Point{-180, s}, Max: orb.Point{e, n}}}
	}
	return nil
}

// styles returns the names and titles of a layer's styles, those of its parents included.
func (p path) styles() (names, titles []string) {
	for _, l := range slices.Backward(p) {
		for _, s := range l.Styles {
			if name := strings.TrimSpace(s.Name); name != "" {
				names, titles = append(names, name), append(titles, strings.TrimSpace(s.Title))
			}
		}
	}
	return names, titles
}

// dimensions returns those of a layer and its parents, by lower-case name.
func (p path) dimensions() map[string]dimension {
	out := map[string]dimension{}
	for _, l := range p {
		for _, d := range slices.Concat(l.Dimensions, l.Extents) { // an extent completes its dimension
			if name := strings.ToLower(strings.TrimSpace(d.Name)); name != "" {
				out[name] = d
			}
		}
	}
	return out
}

// attribution is the nearest one, as HTML that is made safe later.
func (p path) attribution() (title, href string) {
	for _, l := range slices.Backward(p) {
		if t := strings.TrimSpace(l.Attribution.Title); t != "" {
			return t, strings.TrimSpace(l.Attribution.Online.Href)
		}
	}
	return "", ""
}
