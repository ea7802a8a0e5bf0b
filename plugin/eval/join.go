package eval

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tilescout/tilescout/encoder"
)

// joined is which scenes of a set count, and as what.
type joined struct {
	labels  []Label
	scenes  []int // indices into Set.Scenes
	truth   []int // index into labels, for each of scenes
	skipped map[string]int
}

// join gives each scene its label. A class that no label names is an error unless all its scenes are unnamed or
// skipUnlabelled is set; a label without a scene is one unless keepUnseen is set.
func join(s *Set, labels []Label, skipUnlabelled, keepUnseen bool) (joined, error) {
	j := joined{labels: labels, skipped: map[string]int{}}
	index := make(map[string]int, len(labels))
	for i, l := range labels {
		index[fold(l.Class)] = i
	}
	count := make([]int, len(labels))
	for i, scene := range s.Scenes {
		if scene.Class == "" {
			return j, fmt.Errorf(`%s: no "class" in it: %w`, scene.Where, ErrLine)
		}
		at, ok := index[fold(scene.Class)]
		switch {
		case !ok && (scene.Unnamed || skipUnlabelled):
			j.skipped[scene.Class]++
			continue
		case !ok:
			return j, fmt.Errorf("%s: class %q: %w; add it to the labels, or leave such pictures out with --skip-unlabelled", scene.Where, scene.Class, ErrUnlabelled)
		}
		j.scenes, j.truth = append(j.scenes, i), append(j.truth, at)
		count[at]++
	}
	if len(j.scenes) == 0 {
		return j, fmt.Errorf("%s: no picture has one of the labels: %w", s.Name, ErrEmpty)
	}
	for i, n := range count {
		if n == 0 && !keepUnseen {
			return j, fmt.Errorf("labels %s: %q: %w in %s; take it out, or keep it as a distractor with --keep-unseen", labels[i].where, labels[i].Class, ErrUnseenLabel, s.Name)
		}
	}
	return j, nil
}

// CheckSet says early, before a model is opened, whether a set can be measured by its labels; nil labels are its classes.
func CheckSet(s *Set, labels []Label, o Options) error {
	if len(o.Templates) > 0 {
		if _, err := checkTemplates(o.Templates, encoder.Model{}); err != nil {
			return err
		}
	}
	if labels == nil {
		var err error
		if labels, err = labelsOf(s); err != nil {
			return err
		}
	}
	_, err := join(s, labels, o.SkipUnlabelled, o.KeepUnseen)
	return err
}

// classesOf are the classes of a set in order of their names, without those that only unnamed scenes have.
func classesOf(s *Set) []string {
	seen := map[string]bool{}
	var out []string
	for _, scene := range s.Scenes {
		if !scene.Unnamed && scene.Class != "" && !seen[scene.Class] {
			seen[scene.Class] = true
			out = append(out, scene.Class)
		}
	}
	slices.Sort(out)
	return out
}

// skippedText says which classes were left out.
func (j joined) skippedText() string {
	var parts []string
	for class, n := range j.skipped {
		parts = append(parts, fmt.Sprintf("%s (%d)", class, n))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}
