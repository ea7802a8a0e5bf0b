package geo

import "math"

// swissOblique is the Swiss oblique Mercator projection: the ellipsoid conformally on a sphere, that sphere on an
// oblique cylinder. Swiss Federal Office of Topography, Formulas and constants for the calculation of the Swiss
// conformal cylindrical projection (2008), §3; a case of EPSG method 9815.
type swissOblique struct {
	lon0, e, alpha, r, k, x0, y0 float64
	sin0, cos0                   float64 // of the origin's latitude on the sphere
}

func newSwissOblique(el ellipsoid, lon0, lat0, x0, y0 float64) *swissOblique {
	p := &swissOblique{lon0: lon0, e: math.Sqrt(el.f * (2 - el.f)), x0: x0, y0: y0}
	sin, cos := math.Sincos(lat0 * math.Pi / 180)
	e2 := p.e * p.e
	p.alpha = math.Sqrt(1 + e2/(1-e2)*cos*cos*cos*cos)
	p.r = el.a * math.Sqrt(1-e2) / (1 - e2*sin*sin)
	b0 := math.Asin(sin / p.alpha)
	p.sin0, p.cos0 = math.Sincos(b0)
	p.k = math.Atanh(p.sin0) - p.alpha*p.isometric(sin)
	return p
}

// isometric is the isometric latitude by the sine of the geographic one.
func (p *swissOblique) isometric(sin float64) float64 { return isometric(p.e, sin) }

func isometric(e, sin float64) float64 { return math.Atanh(sin) - e*math.Atanh(e*sin) }

// latitude returns the geographic latitude in radians of an isometric one.
func latitude(e, psi float64) float64 {
	sin := math.Tanh(psi)
	for range 20 {
		next := math.Tanh(psi + e*math.Atanh(e*sin))
		if math.Abs(next-sin) < 1e-16 {
			break
		}
		sin = next
	}
	return math.Asin(sin)
}

func (p *swissOblique) forward(lon, lat float64) (x, y float64) {
	sinB := math.Tanh(p.alpha*p.isometric(math.Sin(lat*math.Pi/180)) + p.k)
	cosB := math.Sqrt(1 - sinB*sinB)
	sinL, cosL := math.Sincos(p.alpha * (lon - p.lon0) * math.Pi / 180)
	sinV := p.cos0*sinB - p.sin0*cosB*cosL
	if !(math.Abs(sinV) < 1-1e-9) {
		return math.NaN(), math.NaN()
	}
	return p.x0 + p.r*math.Atan2(cosB*sinL, p.sin0*sinB+p.cos0*cosB*cosL), p.y0 + p.r*math.Atanh(sinV)
}

func (p *swissOblique) inverse(x, y float64) (lon, lat float64) {
	sinL, cosL := math.Sincos((x - p.x0) / p.r)
	sinV := math.Tanh((y - p.y0) / p.r)
	cosV := math.Sqrt(1 - sinV*sinV)
	sinB := p.cos0*sinV + p.sin0*cosV*cosL
	if !(math.Abs(sinB) < 1) || !(math.Abs(x-p.x0) <= math.Pi*p.r) {
		return math.NaN(), math.NaN()
	}
	l := math.Atan2(cosV*sinL, p.cos0*cosV*cosL-p.sin0*sinV)
	return wrapLon(p.lon0 + l/p.alpha*180/math.Pi), latitude(p.e, (math.Atanh(sinB)-p.k)/p.alpha) * 180 / math.Pi
}

// obliqueStereographic is the oblique stereographic projection over the conformal sphere, as the Netherlands use it:
// EPSG method 9809, IOGP Guidance Note 7-2 §3.3.1.1.
type obliqueStereographic struct {
	lon0, e, n, c, r, x0, y0 float64 // r has the scale and a factor of two in it
	sin0, cos0               float64 // of the origin's latitude on the sphere
}

func newObliqueStereographic(el ellipsoid, lon0, lat0, k0, x0, y0 float64) *obliqueStereographic {
	p := &obliqueStereographic{lon0: lon0, e: math.Sqrt(el.f * (2 - el.f)), x0: x0, y0: y0}
	sin, cos := math.Sincos(lat0 * math.Pi / 180)
	e2 := p.e * p.e
	p.r = 2 * k0 * el.a * math.Sqrt(1-e2) / (1 - e2*sin*sin)
	p.n = math.Sqrt(1 + e2*cos*cos*cos*cos/(1-e2))
	// The origin's latitude on the sphere, sin χ0 = sin φ0 / n; c makes the two isometric latitudes meet there.
	chi0 := math.Asin(sin / p.n)
	p.sin0, p.cos0 = math.Sincos(chi0)
	p.c = math.Atanh(p.sin0) - p.n*isometric(p.e, sin)
	return p
}

func (p *obliqueStereographic) forward(lon, lat float64) (x, y float64) {
	sinC := math.Tanh(p.n*isometric(p.e, math.Sin(lat*math.Pi/180)) + p.c)
	cosC := math.Sqrt(1 - sinC*sinC)
	sinL, cosL := math.Sincos(p.n * (lon - p.lon0) * math.Pi / 180)
	b := 1 + sinC*p.sin0 + cosC*p.cos0*cosL
	if !(b > 1e-9) { // the antipode
		return math.NaN(), math.NaN()
	}
	return p.x0 + p.r*cosC*sinL/b, p.y0 + p.r*(sinC*p.cos0-cosC*p.sin0*cosL)/b
}

func (p *obliqueStereographic) inverse(x, y float64) (lon, lat float64) {
	dx, dy := (x-p.x0)/p.r, (y-p.y0)/p.r
	rho := math.Hypot(dx, dy)
	if rho == 0 {
		return p.lon0, latitude(p.e, (math.Atanh(p.sin0)-p.c)/p.n) * 180 / math.Pi
	}
	sin, cos := math.Sincos(2 * math.Atan(rho))
	sinC := cos*p.sin0 + dy*sin*p.cos0/rho
	l := math.Atan2(dx*sin, rho*p.cos0*cos-dy*p.sin0*sin)
	if !(math.Abs(sinC) < 1) || math.IsNaN(l) {
		return math.NaN(), math.NaN()
	}
	return wrapLon(p.lon0 + l/p.n*180/math.Pi), latitude(p.e, (math.Atanh(sinC)-p.c)/p.n) * 180 / math.Pi
}
