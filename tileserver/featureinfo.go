package tileserver

import (
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"maps"

	"github.com/gorilla/mux"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/geo"
)

// infoFormats are the answers of GetFeatureInfo by the extension of their path.
var infoFormats = []struct{ ext, mediaType string }{
	{"json", "application/json"}, {"html", "text/html"}, {"txt", "text/plain"},
}

func (s *site) getFeatureInfoKVP(w http.ResponseWriter, r *http.Request, kvp map[string]string) error {
	if err := require(kvp, "layer", "tilematrixset", "tilematrix", "tilerow", "tilecol", "i", "j"); err != nil {
		return err
	}
	p, err := s.place(r, false, kvp["layer"], kvp["style"], kvp["tilematrixset"], kvp["tilematrix"], kvp["tilerow"], kvp["tilecol"])
	if err != nil {
		return err
	}
	format := kvp["infoformat"]
	if format == "" {
		format = infoFormats[0].mediaType
	}
	return s.sendFeatureInfo(w, r, p, kvp["i"], kvp["j"], format)
}

// getWMTSFeatureInfo answers by path: …/{row}/{column}/{J}/{I}.{ext}.
func (s *site) getWMTSFeatureInfo(w http.ResponseWriter, r *http.Request) error {
	v := mux.Vars(r)
	p, err := s.place(r, true, v["layer"], v["style"], v["tms"], v["z"], v["y"], v["x"])
	if err != nil {
		return err
	}
	for _, f := range infoFormats {
		if f.ext == v["ext"] {
			return s.sendFeatureInfo(w, r, p, v["i"], v["j"], f.mediaType)
		}
	}
	return fmt.Errorf("no feature info as .%s; there are .json, .html and .txt: %w", v["ext"], tilescout.ErrNotFound)
}

func (s *site) sendFeatureInfo(w http.ResponseWriter, r *http.Request, p place, iText, jText, format string) error {
	i, err1 := strconv.Atoi(iText)
	j, err2 := strconv.Atoi(jText)
	if err := errors.Join(err1, err2); err != nil {
		return invalid("i", "pixel %.20q, %.20q: want two whole numbers", iText, jText)
	}
	if i < 0 || j < 0 || i > 255 || j > 255 {
		return &exception{"PointIJOutOfRange", "i", http.StatusBadRequest, fmt.Errorf("pixel %d, %d: want 0 to 255: %w", i, j, tilescout.ErrBadInput)}
	}
	b := geo.Bound(p.tile)
	properties := map[string]any{
		"layer": p.layer.info.ID, "title": p.layer.info.Title,
		"tile":      fmt.Sprintf("%d/%d/%d", p.tile.Z, p.tile.X, p.tile.Y),
		"longitude": round(b.Min[0]+(b.Max[0]-b.Min[0])*(float64(i)+.5)/256, 7),
		"latitude":  round(b.Max[1]-(b.Max[1]-b.Min[1])*(float64(j)+.5)/256, 7), // off by centimetres inside a tile of zoom ≥ 12
	}
	if s.options.FeatureInfo != nil {
		more, err := s.options.FeatureInfo(r.Context(), p.layer.info.ID, p.tile, i, j)
		if err != nil && !errors.Is(err, tilescout.ErrUnavailable) && !errors.Is(err, tilescout.ErrNotFound) {
			return fmt.Errorf("feature info: %w", err)
		}
		maps.Copy(properties, more)
	}
	var body strings.Builder
	names := slices.Sorted(maps.Keys(properties))
	switch format {
	case "application/json":
		data, err := json.Marshal(properties)
		if err != nil {
			return fmt.Errorf("write feature info: %w", err)
		}
		body.Write(data)
	case "text/html":
		body.WriteString("<!DOCTYPE html><html><head><meta charset=\"utf-8\"><title>" + html.EscapeString(p.layer.info.Title) + "</title></head><body><table>\n")
		for _, name := range names {
			fmt.Fprintf(&body, "<tr><th>%s</th><td>%s</td></tr>\n", html.EscapeString(name), html.EscapeString(fmt.Sprint(properties[name])))
		}
		body.WriteString("</table></body></html>\n")
		w.Header().Set("Content-Security-Policy", "default-src 'none'")
	case "text/plain":
		for _, name := range names {
			fmt.Fprintf(&body, "%s = %s\n", name, strings.ReplaceAll(fmt.Sprint(properties[name]), "\n", " "))
		}
	default:
		return invalid("infoformat", "info format %.40q: want application/json, text/html or text/plain", format)
	}
	if strings.HasPrefix(format, "text/") {
		format += "; charset=utf-8"
	}
	w.Header().Set("Cache-Control", "no-cache")
	send(w, r, format, fmt.Sprintf(`"%s"`, shorten(body.String())), []byte(body.String()))
	return nil
}

// round keeps that many decimals.
func round(v float64, decimals int) float64 {
	out, _ := strconv.ParseFloat(strconv.FormatFloat(v, 'f', decimals, 64), 64) // what we wrote parses
	return out
}
