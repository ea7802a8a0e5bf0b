package encoder

import (
	"errors"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tilescout/tilescout"
)

// FuzzPreflight: whatever the bytes are, they pass or are refused with a kind.
func FuzzPreflight(f *testing.F) {
	bytesField := func(b []byte, n protowire.Number, v []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(b, n, protowire.BytesType), v)
	}
	node := bytesField(bytesField(nil, nodeOpType, []byte("Relu")), nodeDomain, []byte("ai.onnx"))
	graph := bytesField(bytesField(nil, graphNode, node), graphInput, bytesField(nil, valueName, []byte("pixels")))
	f.Add(bytesField(nil, modelGraph, graph))
	f.Add([]byte{0x3a, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, model []byte) {
		if err := preflight(model, tower{input: "pixels", output: "embedding", elem: elemUint8, rank: 4}); err != nil && !errors.Is(err, tilescout.ErrBadInput) {
			t.Errorf("preflight: %v has no kind", err)
		}
	})
}

// FuzzManifest: a model.json that passes holds values that the rest may trust.
func FuzzManifest(f *testing.F) {
	f.Add([]byte(`{"format":1,"id":"a","dimension":8,"logitScale":20,"image":{"file":"i","input":"p","output":"e","size":16,"resize":"squash","filter":"bicubic"},` +
		`"text":{"file":"t","input":"t","output":"e","context":4,"tokenizer":"words","vocabulary":"v"},"templates":["{}"],"concepts":"c"}`))
	f.Add([]byte(`{"format":2}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := parseManifest(raw)
		if err != nil {
			if !errors.Is(err, tilescout.ErrBadInput) {
				t.Errorf("parseManifest: %v has no kind", err)
			}
			return
		}
		if m.Image.Size > maxInputSize || m.Dimension > maxDimension || m.Text.Context > maxContext || filterOf(m.Image.Filter) == nil {
			t.Errorf("parseManifest accepts %+v", m)
		}
	})
}

// FuzzVocabulary: a vocab.json that passes gives a tokenizer that works.
func FuzzVocabulary(f *testing.F) {
	f.Add([]byte(testVocabulary), "car park")
	f.Fuzz(func(t *testing.T, raw []byte, prompt string) {
		w, err := parseWords(raw, 5)
		if err != nil {
			if !errors.Is(err, tilescout.ErrBadInput) {
				t.Errorf("parseWords: %v has no kind", err)
			}
			return
		}
		if tok, err := w.tokenize(prompt); err == nil && len(tok.ids) != 5 {
			t.Errorf("tokenize(%q) = %v", prompt, tok.ids)
		}
	})
}
