// Package hostile makes checkpoints that are meant to hurt whoever reads them, and the small sound one that they are made
// of. None of them may bring the program down: each is refused in one line as tilescout.ErrBadInput.
package hostile

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// Array is a float32 tensor of a file.
type Array struct {
	Name   string
	Shape  []int
	Values []float32
}

func (a Array) bytes() []byte {
	raw := make([]byte, 0, 4*len(a.Values))
	for _, v := range a.Values {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
	}
	return raw
}

// Model returns the tensors of the smallest CLIP that a file without config can be, under the names of transformers: one
// layer of width 64 in each tower, pictures of 4 patches, 514 tokens.
func Model() []Array {
	var all []Array
	seed := uint32(1)
	add := func(name string, shape ...int) {
		n := 1
		for _, s := range shape {
			n *= s
		}
		a := Array{Name: name, Shape: shape, Values: make([]float32, n)}
		for i := range a.Values { // a linear congruential generator; values that f16 and bf16 hold too
			seed = seed*1664525 + 1013904223
			a.Values[i] = float32(int32(seed>>26)-32) / 256
		}
		all = append(all, a)
	}
	const w, mlp, dimension = 64, 64, 16
	add("text_model.embeddings.token_embedding.weight", 514, w)
	add("text_model.embeddings.position_embedding.weight", 24, w)
	add("text_model.final_layer_norm.weight", w)
	add("text_model.final_layer_norm.bias", w)
	add("text_projection.weight", dimension, w)
	add("vision_model.embeddings.class_embedding", w)
	add("vision_model.embeddings.patch_embedding.weight", w, 3, 4, 4)
	add("vision_model.embeddings.position_embedding.weight", 5, w)
	for _, norm := range []string{"pre_layrnorm", "post_layernorm"} {
		add("vision_model."+norm+".weight", w)
		add("vision_model."+norm+".bias", w)
	}
	add("visual_projection.weight", dimension, w)
	for _, tower := range []string{"text_model", "vision_model"} {
		p := tower + ".encoder.layers.0."
		for _, which := range []string{"q", "k", "v", "out"} {
			add(p+"self_attn."+which+"_proj.weight", w, w)
			add(p+"self_attn."+which+"_proj.bias", w)
		}
		for _, norm := range []string{"layer_norm1", "layer_norm2"} {
			add(p+norm+".weight", w)
			add(p+norm+".bias", w)
		}
		add(p+"mlp.fc1.weight", mlp, w)
		add(p+"mlp.fc1.bias", mlp)
		add(p+"mlp.fc2.weight", w, mlp)
		add(p+"mlp.fc2.bias", w)
	}
	return append(all, Array{Name: "logit_scale", Shape: []int{}, Values: []float32{2.5}})
}

// Safetensors writes arrays as a safetensors file.
func Safetensors(all []Array) []byte {
	var header strings.Builder
	header.WriteString("{")
	var data []byte
	for i, a := range all {
		if i > 0 {
			header.WriteString(",")
		}
		begin := len(data)
		data = append(data, a.bytes()...)
		header.WriteString(entry(a.Name, "F32", a.Shape, begin, len(data)))
	}
	header.WriteString("}")
	return safetensors(header.String(), data)
}

func entry(name, dtype string, shape any, begin, end int) string {
	key, _ := json.Marshal(name)
	sizes, _ := json.Marshal(shape)
	return fmt.Sprintf(`%s:{"dtype":%q,"shape":%s,"data_offsets":[%d,%d]}`, key, dtype, sizes, begin, end)
}

func safetensors(header string, data []byte) []byte {
	raw := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(raw, header...), data...)
}

// pickler writes the instructions of a pickle, as Lib/pickle.py names them.
type pickler struct{ bytes.Buffer }

func (p *pickler) op(ops ...string) *pickler {
	for _, o := range ops {
		p.WriteString(o)
	}
	return p
}

func (p *pickler) text(s string) *pickler {
	p.WriteByte('X')
	_ = binary.Write(p, binary.LittleEndian, uint32(len(s)))
	p.WriteString(s)
	return p
}

func (p *pickler) number(n int) *pickler {
	if n >= math.MinInt32 && n <= math.MaxInt32 {
		p.WriteByte('J')
		_ = binary.Write(p, binary.LittleEndian, int32(n))
		return p
	}
	p.WriteString("\x8a\x08")
	_ = binary.Write(p, binary.LittleEndian, int64(n))
	return p
}

func (p *pickler) tuple(ns ...int) *pickler {
	p.op("(")
	for _, n := range ns {
		p.number(n)
	}
	return p.op("t")
}

// view describes a tensor over a storage.
type view struct {
	name, class, key string
	count            int // elements of the storage
	offset           int
	shape, strides   []int
}

func (p *pickler) tensor(v view) *pickler {
	p.op("ctorch._utils\n_rebuild_tensor_v2\n", "(", "(").text("storage").op("ctorch\n"+v.class+"\n").text(v.key).text("cpu").number(v.count).op("t", "Q")
	return p.number(v.offset).tuple(v.shape...).tuple(v.strides...).op("\x89", "}", "t", "R")
}

// state is the pickle of a dictionary of tensors.
func state(views ...view) string {
	p := &pickler{}
	p.op("\x80\x02", "}", "(")
	for _, v := range views {
		p.text(v.name).tensor(v)
	}
	return p.op("u", ".").String()
}

func viewOf(a Array, i int) view {
	strides := make([]int, len(a.Shape))
	n := 1
	for k := len(a.Shape) - 1; k >= 0; k-- {
		strides[k] = n
		n *= a.Shape[k]
	}
	return view{a.Name, "FloatStorage", strconv.Itoa(i), len(a.Values), 0, a.Shape, strides}
}

// Torch writes arrays as torch.save does since PyTorch 1.6.
func Torch(all []Array) []byte {
	views, members := make([]view, len(all)), map[string][]byte{}
	for i, a := range all {
		views[i] = viewOf(a, i)
		members["data/"+strconv.Itoa(i)] = a.bytes()
	}
	return archive(state(views...), members)
}

// Script writes arrays as a TorchScript archive: attributes of an object of a class in __torch__.
func Script(all []Array) []byte {
	members := map[string][]byte{"constants.pkl": []byte("\x80\x02).")}
	p := &pickler{}
	p.op("\x80\x02", "c__torch__.multimodal.model\nMultimodal\n", ")", "\x81", "}", "(")
	for i, a := range all {
		p.text(a.Name).tensor(viewOf(a, i))
		members["data/"+strconv.Itoa(i)] = a.bytes()
	}
	p.text("training").op("\x89", "u", "b", ".")
	return archive(p.String(), members)
}

func archive(pickle string, members map[string][]byte) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	store := func(name string, data []byte) {
		w, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
		if err == nil {
			_, err = w.Write(data)
		}
		if err != nil {
			panic(err)
		}
	}
	store("archive/data.pkl", []byte(pickle))
	for i := range len(members) {
		name := "data/" + strconv.Itoa(i)
		if data, ok := members[name]; ok {
			store("archive/"+name, data)
		}
	}
	if data, ok := members["constants.pkl"]; ok {
		store("archive/constants.pkl", data)
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

const legacyHead = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03." + "\x80\x02}."

// Legacy writes arrays as torch.save did before PyTorch 1.6.
func Legacy(all []Array) []byte {
	views := make([]view, len(all))
	keys := &pickler{}
	keys.op("\x80\x02", "]", "(")
	var data []byte
	for i, a := range all {
		views[i] = viewOf(a, i)
		keys.text(strconv.Itoa(i))
		data = binary.LittleEndian.AppendUint64(data, uint64(len(a.Values)))
		data = append(data, a.bytes()...)
	}
	return []byte(legacyHead + state(views...) + keys.op("e", ".").String() + string(data))
}

// Flax writes arrays as flax.serialization does, layouts and names with it.
func Flax(all []Array) []byte {
	root := map[string]any{}
	for _, a := range all {
		a = flaxLayout(a)
		parts := strings.Split(a.Name, ".")
		at := root
		for _, p := range parts[:len(parts)-1] {
			if at[p] == nil {
				at[p] = map[string]any{}
			}
			at = at[p].(map[string]any)
		}
		at[parts[len(parts)-1]] = a
	}
	return pack(nil, root)
}

// flaxLayout renames and transposes: kernels are [in, out] and [height, width, in, out].
func flaxLayout(a Array) Array {
	stem, ok := strings.CutSuffix(a.Name, ".weight")
	switch {
	case !ok:
	case strings.HasSuffix(stem, "norm") || strings.Contains(stem, "layer_norm"):
		a.Name = stem + ".scale"
	case strings.HasSuffix(stem, "token_embedding") || strings.HasSuffix(stem, "position_embedding"):
		a.Name = stem + ".embedding"
	case len(a.Shape) == 4:
		o, i, h, w := a.Shape[0], a.Shape[1], a.Shape[2], a.Shape[3]
		b := Array{stem + ".kernel", []int{h, w, i, o}, make([]float32, len(a.Values))}
		for n, v := range a.Values {
			b.Values[((n/w%h*w+n%w)*i+n/(h*w)%i)*o+n/(h*w*i)] = v
		}
		a = b
	default:
		o, i := a.Shape[0], a.Shape[1]
		b := Array{stem + ".kernel", []int{i, o}, make([]float32, len(a.Values))}
		for n, v := range a.Values {
			b.Values[n%i*o+n/i] = v
		}
		a = b
	}
	return a
}

func pack(b []byte, v any) []byte {
	switch v := v.(type) {
	case map[string]any:
		b = binary.BigEndian.AppendUint16(append(b, 0xde), uint16(len(v)))
		for k, x := range v {
			b = pack(packText(b, k), x)
		}
	case Array:
		b = packArray(b, "float32", v.Shape, v.bytes())
	}
	return b
}

func packText(b []byte, s string) []byte { return append(append(b, 0xd9, byte(len(s))), s...) }

func packArray(b []byte, dtype string, shape []int, data []byte) []byte {
	payload := append([]byte{0x93}, 0x90|byte(len(shape)))
	for _, n := range shape {
		payload = binary.BigEndian.AppendUint32(append(payload, 0xce), uint32(n))
	}
	payload = packText(payload, dtype)
	payload = binary.BigEndian.AppendUint32(append(payload, 0xc6), uint32(len(data)))
	payload = append(payload, data...)
	b = binary.BigEndian.AppendUint32(append(b, 0xc9), uint32(len(payload)))
	return append(append(b, 1), payload...)
}

// Program returns the pickle of an archive; nil if it has none.
func Program(data []byte) []byte {
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil
	}
	f, err := z.Open("archive/data.pkl")
	if err != nil {
		return nil
	}
	defer f.Close()
	program, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err != nil {
		return nil
	}
	return program
}

// Archive puts a pickle into an archive with two storages of 64 elements.
func Archive(program []byte) []byte {
	return archive(string(program), map[string][]byte{"data/0": make([]byte, 256), "data/1": make([]byte, 256)})
}
