package wms

import (
	"cmp"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/geo"
	"github.com/tilescout/tilescout/tileserver/source"
	"github.com/tilescout/tilescout/tileserver/source/resample"
	"github.com/tilescout/tilescout/tileserver/source/upstream"
)

// request is what all GetMap requests of a layer have in common.
type request struct {
	base        *url.URL
	pairs       []string
	crs         geo.CRS
	crsName     string // as the service writes it
	northFirst  bool   // the order of BBOX
	format      string
	size        int // of a tile
	gutter      int
	most        int // pixels a side that the service gives
	shown       func(string) string
	transparent bool
}

// getMap is one request.
type getMap struct {
	box           resample.Rect
	width, height int
	gutter        int
}

const (
	defaultGutter = 16   // pixels
	maxSide       = 1024 // pixels asked for, the default limit on a picture
)

func newRequest(c *capabilities, layers []path, spec source.Spec, address upstream.Address, base *url.URL) (request, error) {
	o := address.Options
	r := request{size: cmp.Or(spec.TileSize, 256), most: maxSide}
	for _, text := range []string{c.Service.MaxWidth, c.Service.MaxHeight} {
		if n, err := strconv.Atoi(strings.TrimSpace(text)); err == nil && n > 0 {
			r.most = min(r.most, n)
		}
	}
	if r.size > r.most {
		return request{}, fmt.Errorf("the service gives pictures of at most %d pixels a side, set tileSize: 256: %w", r.most, tilescout.ErrBadInput)
	}
	version := strings.TrimSpace(cmp.Or(c.Version, o["version"], "1.1.1"))
	new13 := strings.HasPrefix(version, "1.3")
	if !new13 {
		version = "1.1.1"
	} else {
		version = "1.3.0"
	}
	if err := r.pickCRS(layers, cmp.Or(spec.CRS, o["crs"], o["srs"]), new13); err != nil {
		return request{}, err
	}
	if err := r.pickFormat(c.Formats, cmp.Or(spec.Format, o["format"]), layers); err != nil {
		return request{}, err
	}
	if t := o["transparent"]; t != "" {
		r.transparent = strings.EqualFold(t, "true")
	}
	styles, err := pickStyles(layers, cmp.Or(spec.Style, o["styles"], o["style"]))
	if err != nil {
		return request{}, err
	}
	if err := r.pickGutter(spec.Gutter, o["gutter"]); err != nil {
		return request{}, err
	}
	if r.base, err = getMapURL(c, address, base); err != nil {
		return request{}, err
	}
	var names []string
	for _, p := range layers {
		names = append(names, strings.TrimSpace(p.last().Name))
	}
	crsKey := "SRS"
	if new13 {
		crsKey = "CRS"
	}
	r.pairs = []string{
		"SERVICE", "WMS", "REQUEST", "GetMap", "VERSION", version, "LAYERS", strings.Join(names, ","), "STYLES", styles,
		crsKey, r.crsName, "FORMAT", r.format,
	}
	if r.transparent {
		r.pairs = append(r.pairs, "TRANSPARENT", "TRUE")
	}
	dims, err := pickDimensions(layers, spec.Dimensions, o)
	r.pairs = append(r.pairs, dims...)
	return r, err
}

// identity is all that makes pictures others than they would be.
func (r request) identity() string {
	return fmt.Sprint(r.pairs, r.size, r.gutter)
}

// pickCRS takes the system asked for, else that of web maps, else degrees, else the first that can be projected; all
// layers must have it.
func (r *request) pickCRS(layers []path, wanted string, new13 bool) error {
	common := layers[0].systems()
	for _, p := range layers[1:] {
		others := p.systems()
		common = slices.DeleteFunc(slices.Clone(common), func(s string) bool { return !slices.Contains(others, s) })
	}
	best := -1
	for _, text := range common {
		n, err := resample.ParseName(text)
		if err != nil || wanted != "" && !strings.EqualFold(text, wanted) {
			continue
		}
		crs, err := n.CRS()
		if err != nil {
			continue
		}
		rank := 0
		switch {
		case text == "EPSG:3857":
			rank = 4
		case crs.EPSG == 3857: // 900913 and other old names
			rank = 3
		case strings.EqualFold(text, "CRS:84"): // no doubt about its order
			rank = 2
		case crs.Geographic:
			rank = 1
		}
		if rank > best {
			best = rank
			r.crs, r.crsName, r.northFirst = crs, text, n.NorthFirst && new13
		}
	}
	if best >= 0 {
		return nil
	}
	if wanted != "" {
		return fmt.Errorf("the layer is not given in %.40q, or that is not known; it has: %s: %w", wanted, upstream.Choices(common), tilescout.ErrBadInput)
	}
	return fmt.Errorf("the layer has no coordinate reference system that is known, but: %s: %w", upstream.Choices(common), tilescout.ErrBadInput)
}

// pickFormat takes the format asked for; else JPEG for a layer that says it covers all its ground, else PNG, so that
// what lies beside imagery stays transparent.
func (r *request) pickFormat(formats []string, wanted string, layers []path) error {
	opaque := false
	for _, p := range layers {
		opaque = opaque || p.last().Opaque == "1" || p.last().Opaque == "true"
	}
	var all []string
	best := -1
	for _, f := range formats {
		f = strings.TrimSpace(f)
		all = append(all, f)
		kind := plainType(f)
		rank := -1
		switch {
		case wanted != "" && !(strings.EqualFold(f, wanted) || kind != "" && (kind == wanted || kind == "image/"+strings.ToLower(wanted) || kind == tilescout.JPEG && strings.EqualFold(wanted, "jpg"))):
		case kind == tilescout.PNG:
			rank = 2
			if f == "image/png" {
				rank = 3
			}
		case kind == tilescout.JPEG:
			rank = 1
			if opaque {
				rank = 4
			}
		case kind == tilescout.WebP:
			rank = 0
		}
		if rank > best {
			best, r.format = rank, f
		}
	}
	switch {
	case best < 0 && len(all) == 0:
		r.format = tilescout.PNG
	case best < 0 && wanted != "":
		return fmt.Errorf("no format %.40q that is read; there are: %s: %w", wanted, upstream.Choices(all), tilescout.ErrBadInput)
	case best < 0:
		return fmt.Errorf("no format that is read (png, jpeg, webp), but: %s: %w", upstream.Choices(all), tilescout.ErrBadInput)
	}
	r.transparent = plainType(r.format) != tilescout.JPEG && !opaque
	return nil
}

func plainType(format string) string {
	f := strings.ToLower(format)
	switch {
	case strings.HasPrefix(f, "image/png"):
		return tilescout.PNG
	case strings.HasPrefix(f, "image/jpeg"), strings.HasPrefix(f, "image/jpg"):
		return tilescout.JPEG
	case strings.HasPrefix(f, "image/webp"):
		return tilescout.WebP
	}
	return ""
}

func (r *request) pickGutter(wanted int, option string) error {
	if option != "" && wanted == 0 {
		n, err := strconv.Atoi(option)
		if err != nil || n < 0 || n > 256 {
			return fmt.Errorf("gutter %.20q is not in 0 to 256: %w", option, tilescout.ErrBadInput)
		}
		wanted = n
		if n == 0 {
			wanted = -1
		}
	}
	switch {
	case wanted > 0:
		r.gutter = wanted
	case wanted == 0 && plainType(r.format) != tilescout.JPEG:
		r.gutter = defaultGutter
	}
	r.gutter = min(r.gutter, (r.most-r.size)/2)
	return nil
}

// pickStyles returns the list of styles, one for each layer; "" means the standard ones.
func pickStyles(layers []path, wanted string) (string, error) {
	if wanted == "" {
		return strings.Repeat(",", len(layers)-1), nil
	}
	list := strings.Split(wanted, ",")
	if len(list) != len(layers) {
		return "", fmt.Errorf("%d styles for %d layers: %w", len(list), len(layers), tilescout.ErrBadInput)
	}
	for i, name := range list {
		name = strings.TrimSpace(name)
		names, titles := layers[i].styles()
		k := slices.Index(names, name)
		if k < 0 {
			k = slices.IndexFunc(names, func(n string) bool { return strings.EqualFold(n, name) })
		}
		if k < 0 {
			k = slices.Index(titles, name)
		}
		switch {
		case name == "":
		case k >= 0:
			list[i] = names[k]
		default:
			return "", fmt.Errorf("layer %s has no style %.60q; there are: %s: %w", upstream.Text(layers[i].last().Name, 60), name, upstream.Choices(names), tilescout.ErrBadInput)
		}
	}
	return strings.Join(list, ","), nil
}

// pickDimensions returns parameters for the dimensions that are asked for; the server has defaults for the others.
func pickDimensions(layers []path, wanted, options map[string]string) ([]string, error) {
	asked := map[string]string{}
	for name, value := range options {
		if !slices.Contains(settings, name) {
			asked[name] = value
		}
	}
	for name, value := range wanted {
		asked[strings.ToLower(name)] = value
	}
	var there []string
	known := map[string]dimension{}
	for _, p := range layers {
		for name, d := range p.dimensions() {
			if _, ok := known[name]; !ok {
				there = append(there, name)
			}
			known[name] = d
		}
	}
	slices.Sort(there)
	var pairs []string
	for name, value := range asked {
		d, ok := known[name]
		if !ok {
			return nil, fmt.Errorf("no dimension %.60q; there are: %s: %w", name, upstream.Choices(there), tilescout.ErrBadInput)
		}
		values := strings.FieldsFunc(d.Values, func(r rune) bool { return r == ',' || r <= ' ' })
		// A range, or words for the newest: the server decides.
		open := len(values) == 0 || strings.Contains(d.Values, "/") || strings.Contains(value, "/") || strings.EqualFold(value, "current")
		if !open && !slices.Contains(values, value) {
			return nil, fmt.Errorf("dimension %s has no value %.60q; there are: %s: %w", name, value, upstream.Choices(values), tilescout.ErrBadInput)
		}
		parameter := strings.ToUpper(name)
		if name != "time" && name != "elevation" {
			parameter = "DIM_" + parameter
		}
		pairs = append(pairs, parameter, value)
	}
	if len(pairs) > 2 { // maps have no order, addresses and fingerprints do
		list := slices.Collect(slices.Chunk(pairs, 2))
		slices.SortFunc(list, func(a, b []string) int { return cmp.Compare(a[0], b[0]) })
		pairs = slices.Concat(list...)
	}
	return pairs, nil
}

// getMapURL is the address for GetMap of the document, or where it names none the one the capabilities came from. The
// operator's own parameters (map=, a key) go to his host alone.
func getMapURL(c *capabilities, address upstream.Address, base *url.URL) (*url.URL, error) {
	for _, g := range c.Gets {
		if strings.TrimSpace(g.Href) == "" {
			continue
		}
		href, err := upstream.Resolve(base, g.Href)
		if err != nil {
			return nil, fmt.Errorf("GetMap address of the document: %w", err)
		}
		u, err := url.Parse(upstream.Append(href, address.Own(href)))
		if err != nil {
			return nil, fmt.Errorf("GetMap address of the document is no URL: %w", upstream.ErrCapabilities)
		}
		return u, nil
	}
	return address.URL, nil
}

// mapOf returns the request for a tile; ok is false where the system has no place for it.
func (r request) mapOf(v resample.View) (m getMap, ok bool) {
	box := v.Rect()
	if box.Empty() {
		return getMap{}, false
	}
	if r.crs.EPSG == 3857 {
		pixel := (box.MaxX - box.MinX) / float64(v.Size)
		edge := pixel * float64(r.gutter)
		return getMap{
			box:   resample.Rect{MinX: box.MinX - edge, MinY: box.MinY - edge, MaxX: box.MaxX + edge, MaxY: box.MaxY + edge},
			width: v.Size + 2*r.gutter, height: v.Size + 2*r.gutter, gutter: r.gutter,
		}, true
	}
	// A quarter more pixels than the tile has, as the other system's may lie slanting under it, and square ones where the
	// system is in metres: some services distort nothing.
	most := float64(r.most - 2*max(r.gutter, 2))
	n := min(float64(v.Size)*1.25, most)
	dx, dy := (box.MaxX-box.MinX)/n, (box.MaxY-box.MinY)/n
	if !r.crs.Geographic {
		dx = max(dx, dy)
		dy = dx
	}
	margin := float64(max(r.gutter, 2))
	w, h := math.Ceil((box.MaxX-box.MinX)/dx)+2*margin, math.Ceil((box.MaxY-box.MinY)/dy)+2*margin
	m = getMap{width: int(min(w, float64(r.most))), height: int(min(h, float64(r.most)))}
	m.box = resample.Rect{MinX: box.MinX - margin*dx, MaxY: box.MaxY + margin*dy}
	m.box.MaxX, m.box.MinY = m.box.MinX+float64(m.width)*dx, m.box.MaxY-float64(m.height)*dy
	return m, true
}

func (r request) url(m getMap) string {
	f := func(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
	b := []string{f(m.box.MinX), f(m.box.MinY), f(m.box.MaxX), f(m.box.MaxY)}
	if r.northFirst {
		b[0], b[1], b[2], b[3] = b[1], b[0], b[3], b[2]
	}
	return upstream.With(r.base, append(slices.Clone(r.pairs),
		"BBOX", strings.Join(b, ","), "WIDTH", strconv.Itoa(m.width), "HEIGHT", strconv.Itoa(m.height))...)
}
