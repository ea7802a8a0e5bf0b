package torchfile

import (
	"fmt"
	"strings"

	"github.com/tilescout/tilescout/encoder/checkpoint/tensor"
)

// Limits on the walk: a pickle can hold the same dictionary in itself, or twice in each of many levels.
const (
	maxDepth = 24
	maxNodes = 200_000
)

// wrappers are the keys under which training programs keep the weights beside optimiser, epoch and settings.
var wrappers = []string{"state_dict", "model_state_dict", "model", "module", "net", "weights"}

type walker struct {
	views map[string]*view
	nodes int
}

// flatten returns the tensors of a checkpoint object by name: the object is a state_dict, a dictionary that has one, or a
// module.
func flatten(root any) (map[string]*view, error) {
	root = unwrap(root)
	w := &walker{views: make(map[string]*view)}
	switch root := root.(type) {
	case *dict:
		if err := w.dict("", root, 0); err != nil {
			return nil, err
		}
	case *object:
		if err := w.module("", root, 0); err != nil {
			return nil, err
		}
	}
	if len(w.views) == 0 {
		return nil, fmt.Errorf("the file holds %s: %w", kindOf(root), ErrNoState)
	}
	return w.views, nil
}

// unwrap goes into wrappers as long as the next one has tensors of its own.
func unwrap(root any) any {
	for range 4 {
		d, ok := root.(*dict)
		if !ok {
			return root
		}
		inner := any(nil)
		for _, key := range wrappers {
			switch v, _ := d.get(key); v.(type) {
			case *dict, *object:
				inner = v
			}
			if inner != nil {
				break
			}
		}
		if inner == nil {
			return root
		}
		root = inner
	}
	return root
}

func (w *walker) enter(depth int) error {
	if w.nodes++; depth > maxDepth || w.nodes > maxNodes {
		return fmt.Errorf("nested too deeply or too often: %w", ErrPickle)
	}
	return nil
}

func (w *walker) add(name string, v *view) error {
	if name == "" || len(name) > tensor.MaxName || strings.ContainsFunc(name, func(r rune) bool { return r < 0x20 || r == 0x7f }) {
		return fmt.Errorf("%.80q: %w", name, tensor.ErrName)
	}
	if len(w.views) == tensor.MaxTensors {
		return fmt.Errorf("more than %d: %w", tensor.MaxTensors, tensor.ErrTooMany)
	}
	if _, twice := w.views[name]; twice {
		return fmt.Errorf("%.80q: %w", name, tensor.ErrDuplicate)
	}
	w.views[name] = v
	return nil
}

// dict adds the tensors of a dictionary, of those in it too.
func (w *walker) dict(prefix string, d *dict, depth int) error {
	if err := w.enter(depth); err != nil {
		return err
	}
	for i, k := range d.keys {
		key, ok := k.(string)
		if !ok {
			continue
		}
		var err error
		switch v := d.values[i].(type) {
		case *view:
			err = w.add(prefix+key, v)
		case *dict:
			err = w.dict(prefix+key+".", v, depth+1)
		case *object:
			err = w.module(prefix+key+".", v, depth+1)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// module adds the tensors of an object: of TorchScript, whose attributes are parameters and sub-modules, or of a
// torch.nn.Module, which keeps them apart in three dictionaries.
func (w *walker) module(prefix string, o *object, depth int) error {
	if err := w.enter(depth); err != nil {
		return err
	}
	state, ok := o.state.(*dict)
	if !ok {
		return nil
	}
	whole := false
	for _, key := range []string{"_parameters", "_buffers", "_modules"} {
		if v, ok := state.get(key); ok {
			if inner, ok := v.(*dict); ok {
				whole = true
				if err := w.dict(prefix, inner, depth+1); err != nil {
					return err
				}
			}
		}
	}
	if whole {
		return nil
	}
	return w.dict(prefix, state, depth+1)
}

func kindOf(v any) string {
	switch v := v.(type) {
	case *view:
		return "one tensor without a name"
	case *dict:
		return fmt.Sprintf("a dictionary of %d things, no tensor among them", len(v.keys))
	case *list:
		return "a list"
	case tuple:
		return "a tuple"
	case *object:
		return fmt.Sprintf("an object of class %.80s without tensors", v.class)
	}
	return fmt.Sprintf("%T", v)
}
