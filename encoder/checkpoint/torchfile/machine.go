package torchfile

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"github.com/tilescout/tilescout/encoder/checkpoint/tensor"
)

// Limits on a pickle's program. ViT-H/14 with its optimiser takes 60,000 steps.
const (
	maxSteps = 1 << 20
	maxStack = 1 << 18
)

// Values of the machine besides nil, bool, int64, float64, string and *view.
type (
	long   string // an integer of more than 8 bytes, little-endian
	tuple  []any
	list   struct{ items []any }
	dict   struct{ keys, values []any }
	global struct{ module, name string }
	// object is anything that is described but not understood: an instance of a class, the result of a function.
	object struct {
		class global
		state any
	}
	mark struct{}
)

func (g global) String() string { return g.module + "." + g.name }

// get returns the value of a string key; the last one if it is there twice, as in Python.
func (d *dict) get(key string) (any, bool) {
	for i := len(d.keys) - 1; i >= 0; i-- {
		if d.keys[i] == key {
			return d.values[i], true
		}
	}
	return nil, false
}

// machine runs one pickle.
type machine struct {
	raw      []byte
	at       int
	stack    []any
	memo     map[uint32]any
	storages map[string]*storage
}

func newMachine(raw []byte) *machine {
	return &machine{raw: raw, memo: make(map[uint32]any), storages: make(map[string]*storage)}
}

// run returns the value that the pickle describes and leaves at behind its end. What goes wrong is an error of the
// package; nothing is called.
func (m *machine) run() (any, error) {
	for steps := 0; ; steps++ {
		if steps == maxSteps || len(m.stack) > maxStack || len(m.memo) > maxStack {
			return nil, fmt.Errorf("program of more than %d steps, or %d values at once: %w", maxSteps, maxStack, ErrPickle)
		}
		start := m.at
		op, err := m.bytes(1)
		if err != nil {
			return nil, err
		}
		if op[0] == '.' {
			return m.pop()
		}
		if err := m.step(op[0]); err != nil {
			return nil, fmt.Errorf("pickle at byte %d: %w", start, err)
		}
	}
}

// step executes one instruction; letters are those of Lib/pickle.py.
func (m *machine) step(op byte) error {
	switch op {
	case 0x80: // PROTO
		v, err := m.bytes(1)
		if err == nil && (v[0] < 2 || v[0] > 5) {
			return fmt.Errorf("protocol %d: %w", v[0], ErrPickle)
		}
		return err
	case 0x95: // FRAME
		_, err := m.bytes(8)
		return err
	case '(': // MARK
		return m.push(mark{})
	case '0': // POP
		_, err := m.pop()
		return err
	case '1': // POP_MARK
		_, err := m.popMark()
		return err
	case 'c': // GLOBAL
		return m.global()
	case 0x93: // STACK_GLOBAL
		return m.stackGlobal()
	case 'q', 'r', 0x94, 'h', 'j': // BINPUT, LONG_BINPUT, MEMOIZE, BINGET, LONG_BINGET
		return m.memory(op)
	case 'N': // NONE
		return m.push(nil)
	case 0x88: // NEWTRUE
		return m.push(true)
	case 0x89: // NEWFALSE
		return m.push(false)
	case 'K', 'M', 'J', 'G', 0x8a: // BININT1, BININT2, BININT, BINFLOAT, LONG1
		return m.number(op)
	case 'X', 0x8c, 0x8d, 'U', 'T', 'C', 'B', 0x8e: // strings and bytes
		return m.text(op)
	case ')', 't', 0x85, 0x86, 0x87: // tuples
		return m.tuple(op)
	case ']': // EMPTY_LIST
		return m.push(&list{})
	case '}': // EMPTY_DICT
		return m.push(&dict{})
	case 0x8f: // EMPTY_SET
		return m.push(&list{})
	case 'a', 'e', 0x90: // APPEND, APPENDS, ADDITEMS
		return m.append(op)
	case 's', 'u': // SETITEM, SETITEMS
		return m.setItems(op)
	case 'Q': // BINPERSID
		return m.persistent()
	case 'R', 0x81: // REDUCE, NEWOBJ
		return m.reduce()
	case 'b': // BUILD
		return m.build()
	}
	return fmt.Errorf("instruction %#02x, which no checkpoint has: %w", op, ErrPickle)
}

func (m *machine) bytes(n int) ([]byte, error) {
	if n < 0 || n > len(m.raw)-m.at {
		return nil, fmt.Errorf("the pickle ends early: %w", ErrPickle)
	}
	b := m.raw[m.at : m.at+n]
	m.at += n
	return b, nil
}

func (m *machine) push(v any) error { m.stack = append(m.stack, v); return nil }

func (m *machine) pop() (any, error) {
	if len(m.stack) == 0 {
		return nil, fmt.Errorf("empty stack: %w", ErrPickle)
	}
	v := m.stack[len(m.stack)-1]
	m.stack = m.stack[:len(m.stack)-1]
	if _, ok := v.(mark); ok {
		return nil, fmt.Errorf("mark in place of a value: %w", ErrPickle)
	}
	return v, nil
}

// popMark returns the values above the last mark, which it takes off; they are valid until the next push.
func (m *machine) popMark() ([]any, error) {
	for i := len(m.stack) - 1; i >= 0; i-- {
		if _, ok := m.stack[i].(mark); ok {
			items := m.stack[i+1:]
			m.stack = m.stack[:i]
			return items, nil
		}
	}
	return nil, fmt.Errorf("no mark: %w", ErrPickle)
}

func (m *machine) memory(op byte) error {
	var key uint32
	switch op {
	case 'q', 'h':
		b, err := m.bytes(1)
		if err != nil {
			return err
		}
		key = uint32(b[0])
	case 'r', 'j':
		b, err := m.bytes(4)
		if err != nil {
			return err
		}
		key = binary.LittleEndian.Uint32(b)
	default:
		key = uint32(len(m.memo))
	}
	if op == 'h' || op == 'j' {
		v, ok := m.memo[key]
		if !ok {
			return fmt.Errorf("nothing remembered as %d: %w", key, ErrPickle)
		}
		return m.push(v)
	}
	v, err := m.pop()
	if err != nil {
		return err
	}
	m.memo[key] = v
	return m.push(v)
}

func (m *machine) number(op byte) error {
	n := map[byte]int{'K': 1, 'M': 2, 'J': 4, 'G': 8, 0x8a: 1}[op]
	b, err := m.bytes(n)
	if err != nil {
		return err
	}
	switch op {
	case 'K':
		return m.push(int64(b[0]))
	case 'M':
		return m.push(int64(binary.LittleEndian.Uint16(b)))
	case 'J':
		return m.push(int64(int32(binary.LittleEndian.Uint32(b))))
	case 'G':
		return m.push(math.Float64frombits(binary.BigEndian.Uint64(b)))
	}
	if b, err = m.bytes(int(b[0])); err != nil {
		return err
	}
	if len(b) > 8 {
		return m.push(long(b))
	}
	v := int64(0)
	for i, c := range b {
		v |= int64(c) << (8 * i)
	}
	if n := len(b); n > 0 && n < 8 && b[n-1]&0x80 != 0 {
		v -= 1 << (8 * n)
	}
	return m.push(v)
}

func (m *machine) text(op byte) error {
	width := 4
	switch op {
	case 0x8c, 'U', 'C':
		width = 1
	case 0x8d, 0x8e:
		width = 8
	}
	b, err := m.bytes(width)
	if err != nil {
		return err
	}
	n := uint64(0)
	for i, c := range b {
		n |= uint64(c) << (8 * i)
	}
	if n > uint64(len(m.raw)) {
		return fmt.Errorf("text of %d bytes: %w", n, ErrPickle)
	}
	if b, err = m.bytes(int(n)); err != nil {
		return err
	}
	return m.push(string(b))
}

func (m *machine) tuple(op byte) error {
	if op == 't' {
		items, err := m.popMark()
		if err != nil {
			return err
		}
		return m.push(append(tuple(nil), items...))
	}
	n := map[byte]int{')': 0, 0x85: 1, 0x86: 2, 0x87: 3}[op]
	t := make(tuple, n)
	for i := n - 1; i >= 0; i-- {
		v, err := m.pop()
		if err != nil {
			return err
		}
		t[i] = v
	}
	return m.push(t)
}

// top is the value that an instruction changes in place.
func (m *machine) top() any {
	if len(m.stack) == 0 {
		return nil
	}
	return m.stack[len(m.stack)-1]
}

func (m *machine) append(op byte) error {
	var items []any
	var err error
	if op == 'a' {
		var v any
		if v, err = m.pop(); err == nil {
			items = []any{v}
		}
	} else {
		items, err = m.popMark()
	}
	if err != nil {
		return err
	}
	switch target := m.top().(type) {
	case *list:
		target.items = append(target.items, items...)
		return nil
	case *object: // a list of some class
		return nil
	}
	return fmt.Errorf("items for what is no list: %w", ErrPickle)
}

func (m *machine) setItems(op byte) error {
	var items []any
	if op == 's' {
		v, err := m.pop()
		if err != nil {
			return err
		}
		k, err := m.pop()
		if err != nil {
			return err
		}
		items = []any{k, v}
	} else {
		var err error
		if items, err = m.popMark(); err != nil {
			return err
		}
	}
	if len(items)%2 != 0 {
		return fmt.Errorf("key without value: %w", ErrPickle)
	}
	switch target := m.top().(type) {
	case *dict:
		for i := 0; i < len(items); i += 2 {
			target.keys, target.values = append(target.keys, items[i]), append(target.values, items[i+1])
		}
		return nil
	case *object: // a dictionary of some class
		return nil
	}
	return fmt.Errorf("items for what is no dictionary: %w", ErrPickle)
}

func (m *machine) line() (string, error) {
	end := bytes.IndexByte(m.raw[m.at:], '\n')
	if end < 0 || end > tensor.MaxName {
		return "", fmt.Errorf("name without end: %w", ErrPickle)
	}
	b, err := m.bytes(end + 1)
	if err != nil {
		return "", err
	}
	return strings.TrimSuffix(string(b[:end]), "\r"), nil
}

func (m *machine) global() error {
	module, err := m.line()
	if err != nil {
		return err
	}
	name, err := m.line()
	if err != nil {
		return err
	}
	return m.pushGlobal(global{module, name})
}

func (m *machine) stackGlobal() error {
	name, err := m.pop()
	if err != nil {
		return err
	}
	module, err := m.pop()
	if err != nil {
		return err
	}
	n, ok1 := name.(string)
	mod, ok2 := module.(string)
	if !ok1 || !ok2 {
		return fmt.Errorf("name that is no text: %w", ErrPickle)
	}
	return m.pushGlobal(global{mod, n})
}

func (m *machine) pushGlobal(g global) error {
	if g.runsCode() {
		return fmt.Errorf("%.80s: %w", g, ErrCode)
	}
	return m.push(g)
}
