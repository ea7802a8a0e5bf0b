package tileserver

import (
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/gorilla/mux"
	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/geo"
	"github.com/tilescout/tilescout/internal/problem"
)

// matrixSet is the one that tiles are served in, styleName the one style of each layer.
const (
	matrixSet = "WebMercatorQuad"
	styleName = "default"
)

// matchesSuffix makes the name of the layer that shows where a prompt matches: "city.matches". No configured id has a dot.
const matchesSuffix = ".matches"

// exception is an error with its OGC code and the parameter that it is about (WMTS 1.0.0 tables 20, 24, 30).
type exception struct {
	code, locator string
	status        int
	err           error
}

func (e *exception) Error() string { return e.err.Error() }
func (e *exception) Unwrap() error { return e.err }

func invalid(locator, format string, args ...any) error {
	return &exception{"InvalidParameterValue", locator, http.StatusBadRequest,
		fmt.Errorf(format+": %w", append(args, tilescout.ErrBadInput)...)}
}

// wmtsHandler is problem.Handler with ows:ExceptionReport as the body.
func wmtsHandler(f func(w http.ResponseWriter, r *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := f(w, r); err != nil {
			writeException(w, r, err)
		}
	})
}

func writeException(w http.ResponseWriter, r *http.Request, err error) {
	problem.Note(w, err)
	status, code, locator := problem.Headers(w, err), problem.Code(err), ""
	if own := (*exception)(nil); errors.As(err, &own) {
		status, code, locator = own.status, own.code, own.locator
	}
	type text struct {
		Code    string `xml:"exceptionCode,attr"`
		Locator string `xml:"locator,attr,omitempty"`
		Text    string `xml:"ows:ExceptionText"`
	}
	body, fail := xml.MarshalIndent(struct {
		XMLName   xml.Name `xml:"ows:ExceptionReport"`
		Namespace string   `xml:"xmlns:ows,attr"`
		Version   string   `xml:"version,attr"`
		Lang      string   `xml:"xml:lang,attr"`
		Exception text     `xml:"ows:Exception"`
	}{Namespace: "http://www.opengis.net/ows/1.1", Version: "1.1.0", Lang: "en",
		Exception: text{code, locator, problem.Detail(err)}}, "", "  ")
	if fail != nil { // strings always marshal
		body = nil
	}
	body = append([]byte(xml.Header), body...)
	w.Header().Set("Content-Type", "text/xml; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // a client that left needs no answer
	}
}

// getWMTS answers /wmts in key-value pairs: names in any case, values as they are. Without any it gives the
// capabilities, which GDAL asks for by the bare URL.
func (s *site) getWMTS(w http.ResponseWriter, r *http.Request) {
	wmtsHandler(func(w http.ResponseWriter, r *http.Request) error {
		kvp := map[string]string{}
		for name, values := range r.URL.Query() {
			name = strings.ToLower(name)
			if _, twice := kvp[name]; !twice {
				kvp[name] = values[0]
			}
		}
		request, asked := kvp["request"]
		if service, ok := kvp["service"]; ok && !strings.EqualFold(service, "WMTS") {
			return invalid("service", "service %.40q: this is a WMTS", service)
		} else if !ok && asked {
			return &exception{"MissingParameterValue", "service", http.StatusBadRequest, fmt.Errorf("service=WMTS is missing: %w", tilescout.ErrBadInput)}
		}
		if version, ok := kvp["version"]; ok && version != "1.0.0" && request != "GetCapabilities" {
			return invalid("version", "version %.40q: want 1.0.0", version)
		}
		switch request {
		case "GetTile":
			return s.getTileKVP(w, r, kvp)
		case "GetFeatureInfo":
			return s.getFeatureInfoKVP(w, r, kvp)
		case "GetCapabilities", "":
			if accept, ok := kvp["acceptversions"]; ok && !strings.Contains(","+accept+",", ",1.0.0,") {
				return &exception{"VersionNegotiationFailed", "acceptversions", http.StatusBadRequest, fmt.Errorf("this server speaks version 1.0.0 only: %w", tilescout.ErrBadInput)}
			}
			if _, ok := kvp["service"]; ok && !asked {
				return &exception{"MissingParameterValue", "request", http.StatusBadRequest, fmt.Errorf("request is missing: %w", tilescout.ErrBadInput)}
			}
			return s.getCapabilities(w, r)
		default:
			return &exception{"OperationNotSupported", "request", http.StatusNotImplemented, fmt.Errorf("request %.40q: want GetCapabilities, GetTile or GetFeatureInfo: %w", request, tilescout.ErrBadInput)}
		}
	}).ServeHTTP(w, r)
}

// place is the tile that a WMTS request names.
type place struct {
	layer   *layer
	matches bool // the layer is "….matches": where the q of the request matches
	tile    maptile.Tile
	rest    bool // asked by path, so what is not there is 404; by KVP it is 400 (GIS reference §0)
}

// place checks what the two encodings have in common. Values are those of the request.
func (s *site) place(r *http.Request, rest bool, layerID, style, set, matrix, row, column string) (place, error) {
	p := place{rest: rest}
	missing := func(code, locator string, err error) (place, error) {
		status := http.StatusBadRequest
		if rest {
			status = http.StatusNotFound
		}
		return place{}, &exception{code, locator, status, err}
	}
	id, matched := strings.CutSuffix(layerID, matchesSuffix)
	l, err := s.layer(r, id)
	if status := problem.Status(err); err != nil && (status == http.StatusUnauthorized || status == http.StatusForbidden) {
		return place{}, err
	}
	if err == nil && matched && (!s.semantic(l) || !r.URL.Query().Has("q")) {
		err = fmt.Errorf("%s needs a prompt: ?q=…: %w", layerID, tilescout.ErrNotFound)
	}
	if err != nil {
		return missing("InvalidParameterValue", "layer", err)
	}
	p.layer, p.matches = l, matched
	if style != "" && style != styleName {
		return missing("InvalidParameterValue", "style", fmt.Errorf("style %.40q: want %s: %w", style, styleName, tilescout.ErrNotFound))
	}
	if set != matrixSet {
		return missing("InvalidParameterValue", "tilematrixset", fmt.Errorf("tile matrix set %.40q: want %s: %w", set, matrixSet, tilescout.ErrNotFound))
	}
	p.tile, err = geo.ParseTile(matrix, column, row)
	if errors.Is(err, tilescout.ErrOutOfRange) {
		return missing("TileOutOfRange", "tilematrix", err)
	}
	if err != nil {
		return place{}, &exception{"InvalidParameterValue", "tilematrix", http.StatusBadRequest, err}
	}
	limits, ok := l.limits(p.tile.Z)
	if ok && !matched {
		ok = limits.holds(p.tile)
	}
	if matched { // overlays are drawn at every zoom
		ok = true
	}
	if !ok {
		return missing("TileOutOfRange", "tilerow", fmt.Errorf("tile %d/%d/%d is outside layer %s: %w",
			p.tile.Z, p.tile.X, p.tile.Y, l.info.ID, tilescout.ErrOutOfRange))
	}
	return p, nil
}

func (s *site) getTileKVP(w http.ResponseWriter, r *http.Request, kvp map[string]string) error {
	if err := require(kvp, "layer", "tilematrixset", "tilematrix", "tilerow", "tilecol"); err != nil {
		return err
	}
	p, err := s.place(r, false, kvp["layer"], kvp["style"], kvp["tilematrixset"], kvp["tilematrix"], kvp["tilerow"], kvp["tilecol"])
	if err != nil {
		return err
	}
	format := kvp["format"]
	if format == "" {
		format = p.layer.mediaType()
	}
	if format == "image/jpg" { // seen in the wild
		format = tilescout.JPEG
	}
	if format != tilescout.PNG && format != tilescout.JPEG && format != tilescout.WebP {
		return invalid("format", "format %.40q: want image/png, image/jpeg or image/webp", format)
	}
	return s.sendPlace(w, r, p, format)
}

// getWMTSTile answers a tile by path, row before column.
func (s *site) getWMTSTile(w http.ResponseWriter, r *http.Request) error {
	v := mux.Vars(r)
	mediaType, err := mediaTypeOf(v["ext"])
	if err != nil {
		return err
	}
	p, err := s.place(r, true, v["layer"], v["style"], v["tms"], v["z"], v["y"], v["x"])
	if err != nil {
		return err
	}
	return s.sendPlace(w, r, p, mediaType)
}

func (s *site) sendPlace(w http.ResponseWriter, r *http.Request, p place, mediaType string) error {
	if p.matches {
		return s.forward(w, r, p)
	}
	rev := r.URL.Query().Get("rev")
	current := rev != "" && (rev == p.layer.rev() || rev == s.rev())
	err := s.sendTile(w, r, p.layer, p.tile, mediaType, 256, current)
	if errors.Is(err, tilescout.ErrOutOfRange) && !p.rest {
		return &exception{"TileOutOfRange", "tilematrix", http.StatusBadRequest, err}
	}
	return err
}

// forward answers a tile of matches by the overlay route that was mounted here, which alone knows prompts.
func (s *site) forward(w http.ResponseWriter, r *http.Request, p place) error {
	query := url.Values{}
	for _, name := range []string{"q", "not", "threshold", "style", "color", "opacity"} {
		if v, ok := r.URL.Query()[name]; ok && (name != "style" || v[0] != styleName) && v[0] != "" {
			query[name] = v
		}
	}
	if rev := r.URL.Query().Get("rev"); rev == s.rev() {
		query.Set("rev", s.promptRev(p.layer))
	} else if rev != "" {
		query.Set("rev", rev)
	}
	inner := r.Clone(r.Context())
	inner.URL = &url.URL{Path: fmt.Sprintf("/overlay/%s/%d/%d/%d.png", p.layer.info.ID, p.tile.Z, p.tile.X, p.tile.Y), RawQuery: query.Encode()}
	inner.RequestURI = inner.URL.RequestURI()
	s.router.ServeHTTP(w, inner)
	return nil
}

func require(kvp map[string]string, names ...string) error {
	for _, name := range names {
		if kvp[name] == "" {
			return &exception{"MissingParameterValue", name, http.StatusBadRequest, fmt.Errorf("%s is missing: %w", name, tilescout.ErrBadInput)}
		}
	}
	return nil
}
