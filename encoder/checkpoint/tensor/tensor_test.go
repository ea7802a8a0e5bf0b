package tensor_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/tilescout/tilescout/encoder/checkpoint/tensor"
)

// count is 0, 1, 2, … as float32.
func count(n int, order binary.AppendByteOrder) *bytes.Reader {
	var raw []byte
	for i := range n {
		raw = order.AppendUint32(raw, math.Float32bits(float32(i)))
	}
	return bytes.NewReader(raw)
}

func TestViews(t *testing.T) {
	for name, c := range map[string]struct {
		shape, strides []int
		offset         int64
		turn           func(tensor.Tensor) tensor.Tensor
		want           []float32
	}{
		"rows":         {[]int{2, 3}, []int{3, 1}, 0, nil, []float32{0, 1, 2, 3, 4, 5}},
		"transposed":   {[]int{2, 3}, []int{3, 1}, 0, func(t tensor.Tensor) tensor.Tensor { return t.Permute(1, 0) }, []float32{0, 3, 1, 4, 2, 5}},
		"turned twice": {[]int{2, 3}, []int{3, 1}, 0, func(t tensor.Tensor) tensor.Tensor { return t.Permute(1, 0).Permute(1, 0) }, []float32{0, 1, 2, 3, 4, 5}},
		"cut":          {[]int{4, 2}, []int{2, 1}, 1, func(t tensor.Tensor) tensor.Tensor { return t.Rows(1, 3) }, []float32{3, 4, 5, 6}},
		"cut, turned":  {[]int{4, 2}, []int{2, 1}, 0, func(t tensor.Tensor) tensor.Tensor { return t.Permute(1, 0).Rows(1, 2) }, []float32{1, 3, 5, 7}},
		"repeated":     {[]int{2, 2}, []int{0, 1}, 7, nil, []float32{7, 8, 7, 8}},
		"every tenth":  {[]int{3}, []int{10}, 5, nil, []float32{5, 15, 25}},
		"far apart":    {[]int{2}, []int{299_999}, 0, nil, []float32{0, 299_999}}, // read one by one
		"three axes":   {[]int{2, 2, 2}, []int{1, 4, 2}, 0, nil, []float32{0, 2, 4, 6, 1, 3, 5, 7}},
		"scalar":       {[]int{}, []int{}, 9, nil, []float32{9}},
		"empty":        {[]int{0, 3}, []int{3, 1}, 0, nil, nil},
	} {
		for big, order := range map[bool]binary.AppendByteOrder{false: binary.LittleEndian, true: binary.BigEndian} {
			v, err := tensor.View(tensor.Float32, c.shape, c.strides, c.offset, count(300_000, order), big)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if c.turn != nil {
				v = c.turn(v)
			}
			got, err := v.Append([]float32{-1})
			if err != nil || !slices.Equal(got[1:], c.want) || got[0] != -1 {
				t.Errorf("%s (big-endian %v) = %v, %v, want %v", name, big, got, err, c.want)
			}
		}
	}
}

// More than one window.
func TestLong(t *testing.T) {
	const n = 200_001
	v, err := tensor.New(tensor.Float32, []int{n}, count(n, binary.LittleEndian))
	if err != nil {
		t.Fatal(err)
	}
	got, err := v.Append(make([]float32, 0, n))
	if err != nil || len(got) != n || got[n-1] != n-1 || got[65_537] != 65_537 {
		t.Errorf("%d values, %v", len(got), err)
	}
}

func TestHalf(t *testing.T) {
	for h, want := range map[uint16]float64{
		0x0000: 0, 0x3c00: 1, 0xc000: -2, 0x7bff: 65504, 0x0001: math.Ldexp(1, -24), 0x83ff: -math.Ldexp(1023, -24), 0x0400: math.Ldexp(1, -14), 0x3555: 0.333251953125,
	} {
		if got := tensor.HalfToFloat32(h); float64(got) != want {
			t.Errorf("HalfToFloat32(%#04x) = %g, want %g", h, got, want)
		}
	}
	if !math.IsInf(float64(tensor.HalfToFloat32(0xfc00)), -1) || !math.IsNaN(float64(tensor.HalfToFloat32(0x7e01))) || !math.Signbit(float64(tensor.HalfToFloat32(0x8000))) {
		t.Error("infinity, NaN or -0 is lost")
	}
}

func TestNotFinite(t *testing.T) {
	for name, bits := range map[string]uint32{"infinite": 0x7f800000, "-infinite": 0xff800000, "NaN": 0x7fc00000, "signalling": 0x7f800001} {
		raw := binary.LittleEndian.AppendUint32(make([]byte, 400), bits)
		v, err := tensor.New(tensor.Float32, []int{101}, bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := v.Append(nil); !errors.Is(err, tensor.ErrNotFinite) || len(got) > 0 {
			t.Errorf("%s: %d values, %v", name, len(got), err)
		}
	}
	v, err := tensor.New(tensor.Float64, []int{1}, bytes.NewReader(binary.LittleEndian.AppendUint64(nil, math.Float64bits(1e300))))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Append(nil); !errors.Is(err, tensor.ErrNotFinite) {
		t.Errorf("a float64 beyond float32: %v", err)
	}
}

func BenchmarkAppend(b *testing.B) {
	for name, kind := range map[string]tensor.Type{"float32": tensor.Float32, "float16": tensor.Float16, "bfloat16": tensor.BFloat16} {
		const rows, columns = 1024, 1024
		v, err := tensor.New(kind, []int{rows, columns}, bytes.NewReader(make([]byte, rows*columns*kind.Size())))
		if err != nil {
			b.Fatal(err)
		}
		for layout, v := range map[string]tensor.Tensor{"": v, " transposed": v.Permute(1, 0)} {
			b.Run(name+layout, func(b *testing.B) {
				var buffer []float32
				for b.Loop() {
					if buffer, err = v.Append(buffer[:0]); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.N)*rows*columns/1e6/b.Elapsed().Seconds(), "Mweights/s")
			})
		}
	}
}
