package resample

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/geo"
)

// Name is a CRS as services write it.
type Name struct {
	EPSG int
	// NorthFirst tells whether coordinates are written north (or latitude) before east: the axis order of the EPSG
	// register, which names in the form of a URN or URL follow. Plain EPSG:n leaves it to the protocol.
	NorthFirst bool
	Plain      bool // EPSG:n
}

var (
	epsgURN   = regexp.MustCompile(`(?i)^urn:(?:ogc|x-ogc):def:crs:EPSG:[^:]*:([0-9]{4,6})$`)
	epsgURL   = regexp.MustCompile(`(?i)^https?://www\.opengis\.net/def/crs/EPSG/[^/]+/([0-9]{4,6})$`)
	epsgGML   = regexp.MustCompile(`(?i)^https?://www\.opengis\.net/gml/srs/epsg\.xml#([0-9]{4,6})$`)
	epsgPlain = regexp.MustCompile(`(?i)^EPSG:{1,2}([0-9]{4,6})$`)
	crs84     = regexp.MustCompile(`(?i)^(CRS:84|OGC:CRS84|urn:ogc:def:crs:OGC:[^:]*:(CRS)?84|https?://www\.opengis\.net/def/crs/OGC/[^/]+/CRS84)$`)
)

// ParseName reads the name of a CRS. One of another form is ErrBadInput.
func ParseName(text string) (Name, error) {
	text = strings.TrimSpace(text)
	if crs84.MatchString(text) {
		return Name{EPSG: 4326}, nil
	}
	for _, pattern := range []*regexp.Regexp{epsgURN, epsgURL, epsgGML, epsgPlain} {
		m := pattern.FindStringSubmatch(text)
		if m == nil {
			continue
		}
		code, err := strconv.Atoi(m[1])
		if err != nil {
			break
		}
		return Name{EPSG: code, NorthFirst: pattern != epsgGML && northFirst(code), Plain: pattern == epsgPlain}, nil
	}
	return Name{}, fmt.Errorf("coordinate reference system %.60q is not written as EPSG:n: %w", text, tilescout.ErrBadInput)
}

// CRS returns the system that we can project, or ErrBadInput.
func (n Name) CRS() (geo.CRS, error) { return geo.CRSByEPSG(n.EPSG) }

// northFirst tells whether the EPSG register puts northing or latitude first: all geographic systems, and of the
// projected ones those listed.
func northFirst(code int) bool {
	switch {
	case code >= 4001 && code <= 4999:
		return true // geographic: 4326, 4258, 4269, …
	case code >= 3034 && code <= 3051, code == 2193, code == 2180, code == 3300, code == 3301,
		code >= 31466 && code <= 31469, code >= 2391 && code <= 2394, code >= 31275 && code <= 31279, code == 31700,
		code >= 3328 && code <= 3335, code >= 2176 && code <= 2179, code >= 5105 && code <= 5130, code == 3010, code == 3006:
		return true
	}
	return false
}
