// Package draw paints an aerial photograph out of polygons, boxes and tree crowns: anti-aliased fills with
// textured materials into a colour and a height buffer, then one light pass (shadow, relief, haze, blur,
// sensor noise). Lengths are metres, y points south; a Canvas is one block of the picture.
package draw

// texture side in texels; a power of two so that wrapping is a mask.
const texSide = 512

// Noise holds tileable textures in -1…1, made from a seed. It is read-only after NewNoise.
type Noise struct {
	fbm   []float32 // texSide², five octaves, features of 64 texels and smaller
	grain []float32 // texSide², white
}

// hash32 mixes a 32-bit value (lowbias32 by Chris Wellons).
func hash32(x uint32) uint32 {
	x ^= x >> 16
	x *= 0x7feb352d
	x ^= x >> 15
	x *= 0x846ca68b
	x ^= x >> 16
	return x
}

// Hash returns 32 well-mixed bits for a lattice point.
func Hash(x, y int32, salt uint32) uint32 {
	return hash32(uint32(x)*0x9e3779b1 ^ hash32(uint32(y)*0x85ebca77^salt))
}

// unit maps 32 bits to 0…1.
func unit(h uint32) float32 { return float32(h>>8) * (1.0 / (1 << 24)) }

// NewNoise makes the textures for a seed.
func NewNoise(seed uint64) *Noise {
	n := &Noise{fbm: make([]float32, texSide*texSide), grain: make([]float32, texSide*texSide)}
	salt := uint32(seed) ^ hash32(uint32(seed>>32))
	amp := float32(0.5)
	for cells := int32(8); cells <= 128; cells *= 2 {
		lattice := make([]float32, cells*cells)
		for i := range lattice {
			lattice[i] = 2*unit(Hash(int32(i)%cells, int32(i)/cells, salt+uint32(cells))) - 1
		}
		step := texSide / cells
		for y := range int32(texSide) {
			cy, fy := y/step, smooth(float32(y%step)/float32(step))
			r0, r1 := cy*cells, (cy+1)%cells*cells
			for x := range int32(texSide) {
				cx, fx := x/step, smooth(float32(x%step)/float32(step))
				c1 := (cx + 1) % cells
				a := lattice[r0+cx] + fx*(lattice[r0+c1]-lattice[r0+cx])
				b := lattice[r1+cx] + fx*(lattice[r1+c1]-lattice[r1+cx])
				n.fbm[y*texSide+x] += amp * (a + fy*(b-a))
			}
		}
		amp *= 0.55
	}
	for i := range n.grain {
		h := hash32(uint32(i) ^ salt*31)
		n.grain[i] = unit(h) + unit(hash32(h)) - 1
	}
	return n
}

func smooth(t float32) float32 { return t * t * (3 - 2*t) }

// At samples the fractal texture, bilinear; one texel a unit.
func (n *Noise) At(x, y float32) float32 {
	fx, fy := x*256, y*256
	ix, iy := int32(fx), int32(fy)
	if fx < 0 {
		ix--
	}
	if fy < 0 {
		iy--
	}
	tx, ty := float32(ix&255)*(1.0/256), float32(iy&255)*(1.0/256)
	x0, y0 := (ix>>8)&(texSide-1), (iy>>8)&(texSide-1)
	x1, y1 := (x0+1)&(texSide-1), (y0+1)&(texSide-1)
	r0, r1 := n.fbm[y0*texSide:y0*texSide+texSide], n.fbm[y1*texSide:y1*texSide+texSide]
	a := r0[x0] + tx*(r0[x1]-r0[x0])
	b := r1[x0] + tx*(r1[x1]-r1[x0])
	return a + ty*(b-a)
}

// Grain is white noise of one pixel.
func (n *Noise) Grain(x, y int) float32 {
	// Rows are shifted by a hash so that the texture's repeat does not show.
	h := int(hash32(uint32(y>>9)*7919 ^ uint32(x>>9)))
	return n.grain[((y+h>>9)&(texSide-1))*texSide+((x+h)&(texSide-1))]
}
