package tensor

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
)

// window is how much of a file is held while its elements are converted, in bytes. A multiple of every element's size.
const window = 256 << 10

// Append appends the elements in reading order to dst, as float32, and returns it. An element that is infinite or not a
// number is ErrNotFinite. Memory beyond dst: 256 KiB where the elements lie in reading order, else their bytes.
func (t Tensor) Append(dst []float32) ([]float32, error) {
	n := t.Len()
	if n == 0 {
		return dst, nil
	}
	start := len(dst)
	dst = slices.Grow(dst, n)[:start+n]
	out := dst[start:]
	var err error
	if t.contiguous() {
		err = t.stream(out)
	} else {
		err = t.gather(out)
	}
	if err != nil {
		return dst[:start], err
	}
	for i, v := range out {
		if v-v != 0 { // only for infinities and NaN
			return dst[:start], fmt.Errorf("element %d is %v: %w", i, v, ErrNotFinite)
		}
	}
	return dst, nil
}

func (t Tensor) order() binary.ByteOrder {
	if t.big {
		return binary.BigEndian
	}
	return binary.LittleEndian
}

// stream converts a contiguous tensor window by window.
func (t Tensor) stream(out []float32) error {
	size := t.kind.Size()
	at := t.offset * int64(size)
	buffer := make([]byte, min(window, len(out)*size))
	for len(out) > 0 {
		n := min(len(out), len(buffer)/size)
		if err := readFull(t.data, buffer[:n*size], at); err != nil {
			return err
		}
		convert(t.kind, buffer[:n*size], out[:n], t.order())
		out, at = out[n:], at+int64(n*size)
	}
	return nil
}

// gather converts a strided tensor. Its bytes are read at once where they are few more than its elements, as in a
// transposed matrix, else run by run.
func (t Tensor) gather(out []float32) error {
	size := t.kind.Size()
	span := int64(1)
	for i, n := range t.shape {
		span += int64(n-1) * int64(t.strides[i])
	}
	if span > 4*int64(len(out))+window/int64(size) {
		return t.walk(out, func(at int64, out []float32, stride int) error {
			one := make([]byte, size)
			for i := range out {
				if err := readFull(t.data, one, (t.offset+at+int64(i)*int64(stride))*int64(size)); err != nil {
					return err
				}
				convert(t.kind, one, out[i:i+1], t.order())
			}
			return nil
		})
	}
	raw := make([]byte, span*int64(size))
	if err := readFull(t.data, raw, t.offset*int64(size)); err != nil {
		return err
	}
	return t.walk(out, func(at int64, out []float32, stride int) error {
		if stride == 1 {
			convert(t.kind, raw[at*int64(size):], out, t.order())
			return nil
		}
		strided(t.kind, raw[at*int64(size):], out, stride, t.order())
		return nil
	})
}

// strided converts every stride-th element of raw.
func strided(kind Type, raw []byte, dst []float32, stride int, order binary.ByteOrder) {
	if kind == Float32 && order == binary.ByteOrder(binary.LittleEndian) { // flax kernels, the usual case
		for i := range dst {
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i*stride:]))
		}
		return
	}
	size := kind.Size()
	for i := range dst {
		convert(kind, raw[i*stride*size:], dst[i:i+1], order)
	}
}

// walk calls run for every run along the last axis, in reading order: at is the element at which it starts.
func (t Tensor) walk(out []float32, run func(at int64, out []float32, stride int) error) error {
	last := len(t.shape) - 1
	n := t.shape[last]
	index := make([]int, last)
	at := int64(0)
	for {
		if err := run(at, out[:n], t.strides[last]); err != nil {
			return err
		}
		out = out[n:]
		axis := last - 1
		for ; axis >= 0; axis-- {
			index[axis]++
			at += int64(t.strides[axis])
			if index[axis] < t.shape[axis] {
				break
			}
			at -= int64(index[axis]) * int64(t.strides[axis])
			index[axis] = 0
		}
		if axis < 0 {
			return nil
		}
	}
}

// readFull reads len(p) bytes; a file that has become shorter is ErrRange.
func readFull(r io.ReaderAt, p []byte, at int64) error {
	n, err := r.ReadAt(p, at)
	if n == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return fmt.Errorf("byte %d: the file ends: %w", at+int64(n), ErrRange)
	}
	return fmt.Errorf("byte %d: %w", at+int64(n), err)
}
