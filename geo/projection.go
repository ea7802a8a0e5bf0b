package geo

import "math"

// ellipsoid is a figure of the earth by semi-major axis in metres and flattening.
type ellipsoid struct{ a, f float64 }

var (
	wgs84 = ellipsoid{6378137, 1 / 298.257223563} // EPSG:7030
	grs80 = ellipsoid{6378137, 1 / 298.257222101} // EPSG:7019
)

// transverseMercator is the ellipsoidal transverse Mercator by Krüger's series in the third flattening to
// order 6: C. F. F. Karney, Transverse Mercator with an accuracy of a few nanometers, J. Geodesy 85 (2011),
// equations 7–11, 14, 15, 19–21, 35, 36. Errors are nanometres within 35° of the central meridian.
type transverseMercator struct {
	lon0, e, scale float64 // scale is k0·A, metres per radian of rectifying latitude
	x0, y0         float64 // false easting and northing, metres
	alpha, beta    [6]float64
}

func newTransverseMercator(el ellipsoid, lon0, k0, x0, y0 float64) *transverseMercator {
	n := el.f / (2 - el.f)
	n2 := n * n
	n3, n4, n5, n6 := n2*n, n2*n2, n2*n2*n, n2*n2*n2
	return &transverseMercator{
		lon0: lon0, e: math.Sqrt(el.f * (2 - el.f)), x0: x0, y0: y0,
		scale: k0 * el.a / (1 + n) * (1 + n2/4 + n4/64 + n6/256),
		alpha: [6]float64{
			n/2 - n2*2/3 + n3*5/16 + n4*41/180 - n5*127/288 + n6*7891/37800,
			n2*13/48 - n3*3/5 + n4*557/1440 + n5*281/630 - n6*1983433/1935360,
			n3*61/240 - n4*103/140 + n5*15061/26880 + n6*167603/181440,
			n4*49561/161280 - n5*179/168 + n6*6601661/7257600,
			n5*34729/80640 - n6*3418889/1995840,
			n6 * 212378941 / 319334400,
		},
		beta: [6]float64{
			n/2 - n2*2/3 + n3*37/96 - n4/360 - n5*81/512 + n6*96199/604800,
			n2/48 + n3/15 - n4*437/1440 + n5*46/105 - n6*1118711/3870720,
			n3*17/480 - n4*37/840 - n5*209/4480 + n6*5569/90720,
			n4*4397/161280 - n5*11/504 - n6*830251/7257600,
			n5*4583/161280 - n6*108847/3991680,
			n6 * 20648693 / 638668800,
		},
	}
}

// maxEta bounds the distance from the central meridian: beyond about 81° of longitude at the equator
// the series no longer converges.
const maxEta = 2.6

func (p *transverseMercator) forward(lon, lat float64) (x, y float64) {
	sin, cos := math.Sincos((lon - p.lon0) * math.Pi / 180)
	tau := math.Tan(lat * math.Pi / 180)
	tau1 := p.conformal(tau)
	xi1 := math.Atan2(tau1, cos)
	eta1 := math.Asinh(sin / math.Hypot(tau1, cos))
	if !(math.Abs(eta1) <= maxEta) {
		return math.NaN(), math.NaN()
	}
	xi, eta := xi1, eta1
	for j, a := range p.alpha {
		k := float64(2 * (j + 1))
		s, c := math.Sincos(k * xi1)
		xi += a * s * math.Cosh(k*eta1)
		eta += a * c * math.Sinh(k*eta1)
	}
	return p.x0 + p.scale*eta, p.y0 + p.scale*xi
}

func (p *transverseMercator) inverse(x, y float64) (lon, lat float64) {
	xi, eta := (y-p.y0)/p.scale, (x-p.x0)/p.scale
	if !(math.Abs(eta) <= maxEta && math.Abs(xi) <= math.Pi) {
		return math.NaN(), math.NaN()
	}
	xi1, eta1 := xi, eta
	for j, b := range p.beta {
		k := float64(2 * (j + 1))
		s, c := math.Sincos(k * xi)
		xi1 -= b * s * math.Cosh(k*eta)
		eta1 -= b * c * math.Sinh(k*eta)
	}
	sin, cos := math.Sincos(xi1)
	sinh := math.Sinh(eta1)
	tau1 := sin / math.Hypot(sinh, cos)
	// Newton's method on conformal(tau) = tau1, equations 19–21; two rounds reach the last bit.
	tau := tau1
	for range 5 {
		ti := p.conformal(tau)
		d := (tau1 - ti) / math.Hypot(1, ti) * (1 + (1-p.e*p.e)*tau*tau) / ((1 - p.e*p.e) * math.Hypot(1, tau))
		tau += d
		if !(math.Abs(d) > 1e-15*math.Max(1, math.Abs(tau))) {
			break
		}
	}
	lon = p.lon0 + math.Atan2(sinh, cos)*180/math.Pi
	return wrapLon(lon), math.Atan(tau) * 180 / math.Pi
}

// conformal is the tangent of the conformal latitude from that of the geographic one, equations 7–9.
func (p *transverseMercator) conformal(tau float64) float64 {
	h := math.Hypot(1, tau)
	sigma := math.Sinh(p.e * math.Atanh(p.e*tau/h))
	return tau*math.Hypot(1, sigma) - sigma*h
}

// wrapLon brings a longitude into −180…180.
func wrapLon(lon float64) float64 {
	switch {
	case lon > 180:
		return lon - 360
	case lon < -180:
		return lon + 360
	}
	return lon
}

// lambertAzimuthal is the ellipsoidal Lambert azimuthal equal-area projection, oblique aspect: EPSG method 9820,
// IOGP Guidance Note 7-2 §3.3.4; J. P. Snyder, USGS Professional Paper 1395, p. 187.
type lambertAzimuthal struct {
	lon0, e, qp, rq, d, x0, y0 float64
	sinBeta0, cosBeta0         float64
}

func newLambertAzimuthal(el ellipsoid, lon0, lat0, x0, y0 float64) *lambertAzimuthal {
	p := &lambertAzimuthal{lon0: lon0, e: math.Sqrt(el.f * (2 - el.f)), x0: x0, y0: y0}
	p.qp = p.q(1)
	p.rq = el.a * math.Sqrt(p.qp/2)
	sin, cos := math.Sincos(lat0 * math.Pi / 180)
	p.sinBeta0, p.cosBeta0 = math.Sincos(math.Asin(p.q(sin) / p.qp))
	p.d = el.a * cos / math.Sqrt(1-p.e*p.e*sin*sin) / (p.rq * p.cosBeta0)
	return p
}

// q is the authalic function of the sine of the latitude.
func (p *lambertAzimuthal) q(sin float64) float64 {
	e := p.e
	return (1 - e*e) * (sin/(1-e*e*sin*sin) + math.Atanh(e*sin)/e)
}

func (p *lambertAzimuthal) forward(lon, lat float64) (x, y float64) {
	sinBeta := math.Max(-1, math.Min(1, p.q(math.Sin(lat*math.Pi/180))/p.qp))
	cosBeta := math.Sqrt(1 - sinBeta*sinBeta)
	sin, cos := math.Sincos((lon - p.lon0) * math.Pi / 180)
	den := 1 + p.sinBeta0*sinBeta + p.cosBeta0*cosBeta*cos
	if !(den > 1e-9) { // the antipode
		return math.NaN(), math.NaN()
	}
	b := p.rq * math.Sqrt(2/den)
	return p.x0 + b*p.d*cosBeta*sin, p.y0 + b/p.d*(p.cosBeta0*sinBeta-p.sinBeta0*cosBeta*cos)
}

func (p *lambertAzimuthal) inverse(x, y float64) (lon, lat float64) {
	dx, dy := (x-p.x0)/p.d, (y-p.y0)*p.d
	rho := math.Hypot(dx, dy)
	if !(rho <= 2*p.rq) {
		return math.NaN(), math.NaN()
	}
	sinC, cosC := math.Sincos(2 * math.Asin(rho/(2*p.rq)))
	sinBeta := cosC * p.sinBeta0
	if rho > 0 {
		sinBeta += dy * sinC * p.cosBeta0 / rho
	}
	lon = p.lon0 + math.Atan2(dx*sinC, rho*p.cosBeta0*cosC-dy*p.sinBeta0*sinC)*180/math.Pi
	if rho == 0 {
		lon = p.lon0
	}
	// The latitude whose authalic latitude is beta: Snyder's iteration 3-16.
	q := p.qp * math.Max(-1, math.Min(1, sinBeta))
	phi := math.Asin(math.Max(-1, math.Min(1, q/2)))
	for range 12 {
		s, c := math.Sincos(phi)
		if c < 1e-12 {
			break
		}
		t := 1 - p.e*p.e*s*s
		d := t * t / (2 * c) * (q/(1-p.e*p.e) - s/t - math.Atanh(p.e*s)/p.e)
		phi += d
		if math.Abs(d) < 1e-14 {
			break
		}
	}
	return wrapLon(lon), phi * 180 / math.Pi
}
