package upstream

import (
	"fmt"
	"regexp"
	"strings"
)

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// Variable returns the value of an environment variable; that it is not set is an error which names it.
func Variable(name string, lookup func(string) (string, bool)) (string, error) {
	if !variableName.MatchString(name) {
		return "", fmt.Errorf("${%s} is not the name of an environment variable", name)
	}
	if lookup != nil {
		if value, ok := lookup(name); ok && value != "" {
			return value, nil
		}
	}
	return "", fmt.Errorf("environment variable %s is not set", name)
}

// Expand replaces every ${NAME} in text.
func Expand(text string, lookup func(string) (string, bool)) (string, error) {
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(text, "${")
		b.WriteString(before)
		if !ok {
			return b.String(), nil
		}
		name, after, ok := strings.Cut(rest, "}")
		if !ok {
			return "", fmt.Errorf("${ without }")
		}
		value, err := Variable(name, lookup)
		if err != nil {
			return "", err
		}
		b.WriteString(value)
		text = after
	}
}
