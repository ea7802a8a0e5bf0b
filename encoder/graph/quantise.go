package graph

import (
	"fmt"
	"math"
)

// Range is where the input of a product lies, for its quantisation.
type Range struct {
	Min, Max float32
	Smooth   []float32 // per channel: what the input is divided by before, and the matrix multiplied; nil for nothing
	Error    float64   // mean of |ΔY|²/|Y|² over the rows of the product in int8
	Float    bool      // the product stays in float32
}

// Ranges of all inputs of products of a tower, by the product's name.
type Ranges struct{ Inputs map[string]Range }

// unsmooth multiplies the rows of a matrix [in, n] by what the channels of its input were divided by.
func (b *builder) unsmooth(tap string, matrix []float32, n int) {
	for j, s := range b.ranges.Inputs[tap].Smooth {
		row := matrix[j*n : (j+1)*n]
		for i := range row {
			row[i] *= s
		}
	}
}

// quantiseColumns returns a matrix [in, n] as int8, symmetric, with one scale for each column.
func quantiseColumns(matrix []float32, n int) (q []byte, scales []float32) {
	scales = make([]float32, n)
	for i, v := range matrix {
		scales[i%n] = max(scales[i%n], float32(math.Abs(float64(v))))
	}
	for i, s := range scales {
		scales[i] = s / 127
		if s == 0 {
			scales[i] = 1 // a column of zeros
		}
	}
	q = make([]byte, len(matrix))
	for i, v := range matrix {
		r := math.RoundToEven(float64(v) / float64(scales[i%n]))
		q[i] = byte(int8(min(max(r, -127), 127)))
	}
	return q, scales
}

// weights adds a matrix in int8 and returns its names: values, scales, zero points.
func (b *builder) int8(name string, matrix []float32, in, n int) (q, scales, zeros string) {
	if !b.made[name+".int8"] {
		values, s := quantiseColumns(matrix, n)
		b.bytes(name+".int8", elemInt8, []int{in, n}, values)
		b.floats(name+".scales", []int{n}, s)
	}
	zeros = b.bytes(fmt.Sprintf("zeros_%d", n), elemInt8, []int{n}, make([]byte, n))
	return name + ".int8", name + ".scales", zeros
}

// static is a product over bytes whose scale is a constant: the same picture gives the same embedding in every batch.
func (b *builder) static(name, tap, x string, matrix, bias []float32, in, n int) string {
	key := tap + " " + x
	q, ok := b.quantised[key]
	if !ok {
		scale, zero := b.ranges.Inputs[tap].scale()
		q[1] = b.floats("range."+tap+".scale", nil, []float32{scale})
		q[2] = b.bytes("range."+tap+".zero", elemUint8, nil, []byte{zero})
		q[0] = b.node("QuantizeLinear", []string{x, q[1], q[2]})
		b.quantised[key] = q
	}
	w, scales, zeros := b.int8(name, matrix, in, n)
	return b.nodeN("MatMulIntegerToFloat", contrib, []string{
		q[0], w, q[1], scales, q[2], zeros, b.floats(name+".bias", []int{n}, bias),
	}, 1)[0]
}

// dynamic is a product over bytes whose scale is that of the values at hand.
func (b *builder) dynamic(name, x string, matrix, bias []float32, in, n int) string {
	w, scales, zeros := b.int8(name, matrix, in, n)
	return b.nodeN("DynamicQuantizeMatMul", contrib, []string{
		x, w, scales, zeros, b.floats(name+".bias", []int{n}, bias),
	}, 1)[0]
}

// scale and zero point that map the range, which always holds 0, to 0…255.
func (r Range) scale() (scale float32, zero byte) {
	lo, hi := math.Min(float64(r.Min), 0), math.Max(float64(r.Max), 0)
	if hi-lo < 1e-20 {
		return 1, 0
	}
	step := (hi - lo) / 255
	return float32(step), byte(min(max(math.RoundToEven(-lo/step), 0), 255))
}

// patchProduct names the embedding of patches. Its input is bytes as it comes: only its matrix is rounded.
const patchProduct = "patch"

// embedBytes multiplies bytes with a matrix [in, n] in int8. What the rounding of a column adds up to over a picture of
// the mean colour is taken from its bias.
func (b *builder) embedBytes(x string, matrix, bias []float32, mean [3]float64, n int) string {
	if b.err != nil {
		return x
	}
	in := len(matrix) / n
	values, scales := quantiseColumns(matrix, n)
	for o := range n {
		var off float64
		for j := range in {
			off += (float64(matrix[j*n+o]) - float64(int8(values[j*n+o]))*float64(scales[o])) * 255 * mean[j%3]
		}
		bias[o] += float32(off)
	}
	return b.nodeN("MatMulIntegerToFloat", contrib, []string{
		x, b.bytes("patch_embedding.int8", elemInt8, []int{in, n}, values),
		b.scalar(1), b.floats("patch_embedding.scales", []int{n}, scales),
		b.bytes("patch_embedding.zero", elemUint8, nil, []byte{0}), b.bytes(fmt.Sprintf("zeros_%d", n), elemInt8, []int{n}, make([]byte, n)),
	}, 1)[0]
}

// patchRange measures the int8 form of a patch embedding [in, n] on patches of pictures.
func patchRange(matrix []float32, n int, patches [][]byte, mean [3]float64) Range {
	in := len(matrix) / n
	values, scales := quantiseColumns(matrix, n)
	r := Range{Max: 255}
	columns := max(1, n/judgedOutputs)
	for _, patch := range patches {
		var off, all float64
		for o := 0; o < n; o += columns {
			var y, z float64
			for j := range in {
				v := float64(patch[j]) - 255*mean[j%3]
				y += v * float64(matrix[j*n+o])
				z += v * float64(int8(values[j*n+o])) * float64(scales[o])
			}
			off += (y - z) * (y - z)
			all += y * y
		}
		if all > 0 {
			r.Error += off / all / float64(len(patches))
		}
	}
	return r
}

// samplePatches cuts one patch out of each of some pictures of side size, as the tower does.
func samplePatches(pictures [][]byte, size, p int) [][]byte {
	var out [][]byte
	for i := 0; i < len(pictures); i += max(1, len(pictures)/judgedRows) {
		top, left := i*7%(size/p)*p, i*11%(size/p)*p
		var patch []byte
		for y := range p {
			at := ((top+y)*size + left) * 3
			patch = append(patch, pictures[i][at:at+3*p]...)
		}
		out = append(out, patch)
	}
	return out
}
