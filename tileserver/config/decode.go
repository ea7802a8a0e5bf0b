package config

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/tilescout/tilescout"
)

// decoder fills a struct from YAML and remembers where each value stood.
type decoder struct {
	name   string           // of the file, in messages
	places map[string]place // path like layers[0].source → where its value is
}

type place struct{ line, column int }

const (
	maxDepth  = 32    // of nesting; a config has five
	maxTokens = 50000 // of the whole file
)

// errorf returns ErrBadInput with the place of a path; the path of its parent if it has none of its own.
func (d *decoder) errorf(path, format string, args ...any) error {
	for at := path; at != ""; {
		if p, ok := d.places[at]; ok {
			return d.at(p, format, args...)
		}
		i := strings.LastIndexAny(at, ".[")
		at = at[:max(i, 0)]
	}
	if d.name == "" {
		return fmt.Errorf(format+": %w", append(args, tilescout.ErrBadInput)...)
	}
	return fmt.Errorf("%s: "+format+": %w", append(append([]any{d.name}, args...), tilescout.ErrBadInput)...)
}

func (d *decoder) at(p place, format string, args ...any) error {
	return fmt.Errorf("%s:%d:%d: "+format+": %w", append(append([]any{d.name, p.line, p.column}, args...), tilescout.ErrBadInput)...)
}

func (d *decoder) atNode(n ast.Node, format string, args ...any) error {
	return d.at(placeOf(n.GetToken()), format, args...)
}

func placeOf(t *token.Token) place {
	if t == nil || t.Position == nil {
		return place{1, 1}
	}
	return place{t.Position.Line, t.Position.Column}
}

// decode reads YAML into what v points at. An empty text changes nothing.
func (d *decoder) decode(data []byte, v any) error {
	if len(data) > MaxBytes {
		return d.errorf("", "more than %d bytes", MaxBytes)
	}
	if !utf8.Valid(data) {
		return d.errorf("", "not UTF-8 text")
	}
	tokens := lexer.Tokenize(string(data))
	if err := d.check(tokens); err != nil {
		return err
	}
	file, err := parse(tokens)
	if err != nil {
		var positioned yaml.Error
		if errors.As(err, &positioned) && positioned.GetToken() != nil {
			return d.at(placeOf(positioned.GetToken()), "%s", oneLine(positioned.GetMessage()))
		}
		return d.errorf("", "%s", oneLine(err.Error()))
	}
	var body ast.Node
	for _, doc := range file.Docs {
		if doc == nil || doc.Body == nil {
			continue
		}
		if body != nil {
			return d.atNode(doc.Body, "a second document")
		}
		body = doc.Body
	}
	if body == nil {
		return nil
	}
	if _, comment := body.(*ast.CommentGroupNode); comment {
		return nil
	}
	return d.value(body, reflect.ValueOf(v).Elem(), "")
}

// parse guards the parser: a text that makes it panic is a bad text.
func parse(tokens token.Tokens) (file *ast.File, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("not YAML: %v", p)
		}
	}()
	return parser.Parse(tokens, 0)
}

// check refuses what a config does not need and a parser may choke on: nesting without end, anchors, tags.
func (d *decoder) check(tokens token.Tokens) error {
	if len(tokens) > maxTokens {
		return d.errorf("", "more than %d words", maxTokens)
	}
	depth, entries, line := 0, 0, 0
	for _, t := range tokens {
		if t.Position.Line != line {
			line, entries = t.Position.Line, 0
		}
		switch t.Type {
		case token.AnchorType, token.AliasType, token.TagType, token.MergeKeyType, token.MappingKeyType, token.DirectiveType:
			return d.at(placeOf(t), "%q: anchors, tags and directives are not for a config", t.Value)
		case token.MappingStartType, token.SequenceStartType:
			depth++
		case token.MappingEndType, token.SequenceEndType:
			depth--
		case token.SequenceEntryType:
			entries++
		case token.InvalidType:
			return d.at(placeOf(t), "%s", oneLine(cmpOr(t.Error, "not YAML")))
		}
		if depth > maxDepth || entries > maxDepth || t.Position.IndentNum > 16*maxDepth {
			return d.at(placeOf(t), "nested too deep")
		}
	}
	return nil
}

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

var (
	durationType = reflect.TypeFor[time.Duration]()
	textsType    = reflect.TypeFor[Texts]()
)

// value sets v from a node. Shapes: v is addressable; path is "" at the root.
func (d *decoder) value(n ast.Node, v reflect.Value, path string) error {
	d.places[path] = placeOf(n.GetToken())
	if _, null := n.(*ast.NullNode); null { // "key:" with nothing after it
		return nil
	}
	if v.Type() == textsType {
		if _, list := n.(*ast.SequenceNode); !list {
			var one string
			if err := d.value(n, reflect.ValueOf(&one).Elem(), path); err != nil {
				return err
			}
			v.Set(reflect.ValueOf(Texts{one}))
			return nil
		}
	}
	wrong := func(want string) error { return d.atNode(n, "%s: want %s, not %s", last(path), want, describe(n)) }
	switch {
	case v.Type() == durationType:
		s, ok := text(n)
		got, err := time.ParseDuration(s)
		if !ok || err != nil {
			return wrong("a duration like 30s or 24h")
		}
		v.SetInt(int64(got))
	case v.Kind() == reflect.Struct:
		return d.mapping(n, path, func() error { return wrong("keys and values") }, func(key ast.Node, name string, value ast.Node) error {
			field, ok := fieldOf(v, name)
			if !ok {
				return d.unknown(key, name, v.Type(), path)
			}
			return d.value(value, field, join(path, name))
		})
	case v.Kind() == reflect.Map:
		out := reflect.MakeMap(v.Type())
		err := d.mapping(n, path, func() error { return wrong("names and texts") }, func(_ ast.Node, name string, value ast.Node) error {
			element := reflect.New(v.Type().Elem()).Elem()
			out.SetMapIndex(reflect.ValueOf(name), element)
			if err := d.value(value, element, join(path, name)); err != nil {
				return err
			}
			out.SetMapIndex(reflect.ValueOf(name), element)
			return nil
		})
		v.Set(out)
		return err
	case v.Kind() == reflect.Slice:
		list, ok := n.(*ast.SequenceNode)
		if !ok {
			return wrong("a list")
		}
		out := reflect.MakeSlice(v.Type(), len(list.Values), len(list.Values))
		for i, element := range list.Values {
			if err := d.value(element, out.Index(i), fmt.Sprintf("%s[%d]", path, i)); err != nil {
				return err
			}
		}
		v.Set(out)
	default:
		return d.scalar(n, v, wrong)
	}
	return nil
}

// scalar sets a string, number or boolean.
func (d *decoder) scalar(n ast.Node, v reflect.Value, wrong func(string) error) error {
	s, ok := text(n)
	switch v.Kind() {
	case reflect.String:
		if !ok {
			return wrong("a text (in quotes, if it looks like something else)")
		}
		v.SetString(s)
	case reflect.Int:
		i, err := strconv.ParseInt(s, 10, 64)
		if _, number := n.(*ast.IntegerNode); !number || err != nil {
			return wrong("a whole number")
		}
		v.SetInt(i)
	case reflect.Float64:
		f, err := strconv.ParseFloat(s, 64)
		_, whole := n.(*ast.IntegerNode)
		_, fraction := n.(*ast.FloatNode)
		if !(whole || fraction) || err != nil || math.IsInf(f, 0) {
			return wrong("a number")
		}
		v.SetFloat(f)
	case reflect.Bool:
		b, is := n.(*ast.BoolNode)
		if !is {
			return wrong("true or false")
		}
		v.SetBool(b.Value)
	default:
		return fmt.Errorf("config: no way to read a %s", v.Type()) // a field was added without its reader
	}
	return nil
}

// mapping walks the pairs of a node, or returns notOne() if it has none.
func (d *decoder) mapping(n ast.Node, path string, notOne func() error, each func(key ast.Node, name string, value ast.Node) error) error {
	var pairs []*ast.MappingValueNode
	switch m := n.(type) {
	case *ast.MappingNode:
		pairs = m.Values
	case *ast.MappingValueNode:
		pairs = []*ast.MappingValueNode{m}
	default:
		return notOne()
	}
	seen := map[string]bool{}
	for _, pair := range pairs {
		name := pair.Key.GetToken().Value
		if seen[name] {
			return d.atNode(pair.Key, "%s stands here twice", join(path, name))
		}
		seen[name] = true
		if pair.Value == nil {
			continue
		}
		if err := each(pair.Key, name, pair.Value); err != nil {
			return err
		}
	}
	return nil
}

// text returns what a scalar says, as it was written for numbers.
func text(n ast.Node) (string, bool) {
	switch s := n.(type) {
	case *ast.StringNode:
		return s.Value, true
	case *ast.LiteralNode:
		if s.Value == nil {
			return "", true
		}
		return s.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode:
		return s.GetToken().Value, true
	default:
		return "", false
	}
}

func describe(n ast.Node) string {
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "keys and values"
	case *ast.SequenceNode:
		return "a list"
	}
	s := n.GetToken().Value
	if len(s) > 40 {
		s = strings.ToValidUTF8(s[:40], "") + "…"
	}
	return strconv.Quote(s)
}

// fieldOf returns the field with that yaml tag, looking into inlined structs.
func fieldOf(v reflect.Value, name string) (reflect.Value, bool) {
	for i := range v.NumField() {
		tag := v.Type().Field(i).Tag.Get("yaml")
		if tag == ",inline" {
			if f, ok := fieldOf(v.Field(i), name); ok {
				return f, true
			}
		} else if tag == name && name != "" {
			return v.Field(i), true
		}
	}
	return reflect.Value{}, false
}

// keys returns the yaml names of a struct's fields.
func keys(t reflect.Type) []string {
	var out []string
	for i := range t.NumField() {
		if tag := t.Field(i).Tag.Get("yaml"); tag == ",inline" {
			out = append(out, keys(t.Field(i).Type)...)
		} else {
			out = append(out, tag)
		}
	}
	return out
}

func (d *decoder) unknown(key ast.Node, name string, t reflect.Type, path string) error {
	where := "here"
	if path != "" {
		where = "in " + path
	}
	if len(name) > 40 {
		name = strings.ToValidUTF8(name[:40], "") + "…"
	}
	known := keys(t)
	if near := nearest(name, known); near != "" {
		return d.atNode(key, "unknown key %q %s; did you mean %s?", name, where, near)
	}
	slices.Sort(known)
	return d.atNode(key, "unknown key %q %s; there are %s", name, where, strings.Join(known, ", "))
}

// nearest returns the known word that is fewest edits away, if that is at most a third of it and one.
func nearest(word string, known []string) string {
	best, least := "", math.MaxInt
	for _, k := range known {
		n := edits(strings.ToLower(word), strings.ToLower(k))
		if n < least && n <= 1+len(k)/3 {
			best, least = k, n
		}
	}
	return best
}

// edits is the Levenshtein distance in bytes.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		corner := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := corner
			if a[i] != b[j] {
				cost++
			}
			corner = row[j+1]
			row[j+1] = min(cost, row[j]+1, corner+1)
		}
	}
	return row[len(b)]
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// last is the part of a path that a message starts with.
func last(path string) string {
	if path == "" {
		return "the config"
	}
	return path
}
