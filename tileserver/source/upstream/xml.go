package upstream

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/net/html/charset"

	"github.com/tilescout/tilescout/internal/reject"
)

// The reasons to refuse an XML document.
var (
	ErrXML             = reject.New("capabilities", "ErrXML", "not well-formed XML")
	ErrXMLDepth        = reject.New("capabilities", "ErrXMLDepth", "elements lie too deep")
	ErrXMLElements     = reject.New("capabilities", "ErrXMLElements", "too many elements")
	ErrTooManyLayers   = reject.New("capabilities", "ErrTooManyLayers", "too many layers")
	ErrXMLEntity       = reject.New("capabilities", "ErrXMLEntity", "the DOCTYPE declares entities, which are not expanded")
	ErrCapabilities    = reject.New("capabilities", "ErrCapabilities", "not the document it should be")
	ErrCapabilityRange = reject.New("capabilities", "ErrCapabilityRange", "a number is out of range")
)

// UnmarshalXML reads a stranger's document into the struct that v points to. It is read token by token within limits on
// bytes, depth, elements and layers; a DOCTYPE is skipped, nothing it points to is fetched, and one that declares
// entities is refused. Encodings other than UTF-8 are converted. All errors are ErrBadInput.
func UnmarshalXML(data []byte, v any, limits DocumentLimits) error {
	r, err := newTokens(data, limits)
	if err != nil {
		return err
	}
	return r.explain(xml.NewTokenDecoder(r).Decode(v))
}

// RootElement returns the name of the outermost element, without its prefix. It must begin within the first MiB.
func RootElement(data []byte) (string, error) {
	r, err := newTokens(data[:min(len(data), 1<<20)], DocumentLimits{})
	if err != nil {
		return "", err
	}
	for {
		t, err := r.Token()
		if err != nil {
			return "", r.explain(err)
		}
		if start, ok := t.(xml.StartElement); ok {
			return start.Name.Local, nil
		}
	}
}

// tokens is an xml.TokenReader that counts.
type tokens struct {
	d                       *xml.Decoder
	limits                  DocumentLimits
	depth, elements, layers int
	refused                 error
}

func newTokens(data []byte, limits DocumentLimits) (*tokens, error) {
	limits = limits.withDefaults()
	if err := limits.Check(data); err != nil {
		return nil, err
	}
	var text io.Reader = bytes.NewReader(bytes.TrimPrefix(data, []byte("\ufeff")))
	// A document in UTF-16 does not even show its own declaration.
	wide := bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff"))
	if wide {
		r, err := charset.NewReaderLabel("utf-16", bytes.NewReader(data))
		if err != nil {
			return nil, fmt.Errorf("UTF-16: %w", ErrXML)
		}
		text = io.LimitReader(r, int64(limits.Bytes))
	}
	d := xml.NewDecoder(text)
	d.Entity = xml.HTMLEntity // some servers write &nbsp; without saying where they have it from
	d.CharsetReader = func(label string, in io.Reader) (io.Reader, error) {
		if wide || strings.HasPrefix(strings.ToLower(label), "utf-16") { // it is not, or we would not read this
			return in, nil
		}
		r, err := charset.NewReaderLabel(label, in)
		if err != nil {
			return nil, fmt.Errorf("encoding %.40q is not known", label)
		}
		return r, nil
	}
	return &tokens{d: d, limits: limits}, nil
}

// Token returns the next token; names keep their prefixes, which the decoder above translates.
func (r *tokens) Token() (xml.Token, error) {
	t, err := r.d.RawToken()
	if err != nil {
		return nil, err
	}
	switch t := t.(type) {
	case xml.Directive:
		if bytes.Contains(bytes.ToUpper(t), []byte("<!ENTITY")) {
			r.refused = ErrXMLEntity
		}
	case xml.StartElement:
		r.depth++
		r.elements++
		if t.Name.Local == "Layer" {
			r.layers++
		}
		switch {
		case r.depth > r.limits.Depth:
			r.refused = fmt.Errorf("more than %d: %w", r.limits.Depth, ErrXMLDepth)
		case r.elements > r.limits.Elements:
			r.refused = fmt.Errorf("more than %d: %w", r.limits.Elements, ErrXMLElements)
		case r.layers > r.limits.Layers:
			r.refused = fmt.Errorf("more than %d: %w", r.limits.Layers, ErrTooManyLayers)
		}
	case xml.EndElement:
		r.depth--
	}
	if r.refused != nil {
		return nil, r.refused
	}
	return t, nil
}

// explain turns what the decoder says into one short line of one kind.
func (r *tokens) explain(err error) error {
	switch {
	case err == nil:
		return nil
	case r.refused != nil:
		return r.refused
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("the document ends too early: %w", ErrXML)
	}
	return fmt.Errorf("%s: %w", oneLine(err.Error(), 120), ErrXML)
}
