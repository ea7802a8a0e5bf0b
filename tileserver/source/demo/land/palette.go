package land

import (
	"math/rand/v2"

	"github.com/tilescout/tilescout/tileserver/source/demo/draw"
)

type rgb = draw.RGB

// palette is the scene's season, soil and water.
type palette struct {
	grass, dry, soil, sand, wet     rgb // ground
	sea, shallow, river, mud, foam  rgb // water
	crowns                          []rgb
	asphalt, concrete, kerb, paving rgb
	meadow, lawn, turf              *draw.Mat // surfaces
	road, street, yard, pave, bare  *draw.Mat
	pool                            *draw.Mat
	white, steel                    *draw.Mat
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

// between draws a number in lo…hi.
func between(r *rand.Rand, lo, hi float64) float64 { return lo + (hi-lo)*r.Float64() }

// vary changes a colour's brightness and hue a little.
func vary(r *rand.Rand, c rgb, by float64) rgb {
	k := float32(between(r, 1-by, 1+by))
	for i := range c {
		c[i] = min(c[i]*k*float32(between(r, 1-by/3, 1+by/3)), 250)
	}
	return c
}

func newPalette(r *rand.Rand) palette {
	type season struct {
		grass, dry rgb
		crowns     []rgb
	}
	s := pick(r,
		season{rgb{82, 98, 60}, rgb{118, 116, 78}, []rgb{{54, 78, 46}, {64, 88, 50}, {46, 68, 44}, {78, 94, 56}}},  // spring
		season{rgb{86, 100, 58}, rgb{142, 130, 88}, []rgb{{48, 70, 42}, {58, 80, 46}, {42, 62, 40}, {70, 84, 50}}}, // summer
		season{rgb{98, 98, 64}, rgb{132, 116, 82}, []rgb{{54, 70, 42}, {74, 80, 46}, {92, 80, 48}, {48, 62, 40}}},  // early autumn
		season{rgb{72, 92, 62}, rgb{108, 108, 80}, []rgb{{40, 66, 48}, {50, 78, 54}, {36, 58, 46}, {60, 84, 60}}},  // cool
	)
	soil := pick(r, rgb{150, 124, 94}, rgb{138, 112, 88}, rgb{164, 128, 96}, rgb{134, 120, 100})
	sand := pick(r, rgb{206, 188, 150}, rgb{196, 178, 146}, rgb{214, 198, 160}, rgb{200, 172, 130})
	sea := pick(r, rgb{34, 66, 84}, rgb{30, 72, 80}, rgb{40, 62, 74}, rgb{28, 58, 82})
	river := pick(r, rgb{52, 72, 66}, rgb{64, 80, 70}, rgb{44, 64, 62}, rgb{88, 90, 70})
	p := palette{grass: vary(r, s.grass, .06), dry: vary(r, s.dry, .06), soil: soil, sand: sand, wet: sand.Mul(.72),
		sea: sea, shallow: sea.Mix(pick(r, rgb{96, 148, 140}, rgb{110, 140, 124}, rgb{84, 136, 140}), .8), river: river,
		mud: soil.Mul(.85), foam: rgb{226, 230, 228}, crowns: s.crowns,
		asphalt: pick(r, rgb{98, 98, 98}, rgb{112, 110, 108}, rgb{88, 90, 94}), concrete: rgb{172, 168, 158}, kerb: rgb{150, 146, 138}, paving: rgb{158, 148, 136}}
	p.meadow = &draw.Mat{C: p.grass, D: p.dry, Size: 60, Bias: -.34, Sharp: 1.2, Grain: .09, Mid: .12, Large: .12}
	p.lawn = &draw.Mat{C: p.grass.Mix(rgb{72, 98, 54}, .45), D: p.dry, Size: 22, Bias: -.32, Sharp: 1, Grain: .08, Mid: .1}
	p.turf = &draw.Mat{C: p.grass.Mix(rgb{70, 112, 58}, .6), D: p.dry, Size: 18, Bias: -.42, Sharp: .8, Grain: .06, Mid: .05}
	p.road = &draw.Mat{C: p.asphalt, D: p.asphalt.Mul(1.14), Size: 26, Sharp: 1.6, Grain: .06, Mid: .06}
	p.street = &draw.Mat{C: p.asphalt.Mul(1.08), D: p.asphalt.Mul(.92), Size: 18, Sharp: 1.4, Grain: .07, Mid: .08}
	p.yard = &draw.Mat{C: rgb{150, 146, 138}, D: rgb{124, 118, 108}, Size: 30, Sharp: 1.6, Grain: .06, Mid: .1}
	p.pave = &draw.Mat{C: p.paving, D: p.paving.Mul(.84), Size: 16, Sharp: 1.5, Grain: .07, Mid: .08}
	p.bare = &draw.Mat{C: soil, D: soil.Mix(sand, .6), Size: 40, Sharp: 1.4, Grain: .08, Mid: .12, Large: .1}
	p.pool = &draw.Mat{C: rgb{70, 160, 190}, Grain: .05}
	p.white = &draw.Mat{C: rgb{224, 224, 220}, Grain: .04, Mid: .03}
	p.steel = &draw.Mat{C: rgb{170, 172, 172}, Grain: .04, Mid: .05}
	return p
}

func newLight(r *rand.Rand) draw.Light {
	l := draw.NewLight(between(r, 145, 215), between(r, 42, 55), GSD)
	l.Shadow = rgb{.40, .45, .54}
	l.Haze = rgb{178, 188, 196}
	l.Air = float32(between(r, .03, .12))
	warm, k := float32(between(r, -.03, .05)), float32(between(r, .88, 1.08))
	l.Gain = rgb{k * (1 + warm), k, k * (1 - warm)}
	l.Gamma = float32(between(r, .98, 1.14))
	l.Colour = float32(between(r, .74, 1))
	l.Blur = float32(between(r, .1, .2))
	l.Noise = float32(between(r, 2, 4))
	return l
}
