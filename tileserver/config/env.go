package config

import (
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// prefix of the environment variables that override the file.
const prefix = "TILESCOUT_"

// Variable returns the name of the environment variable that overrides a key: TILESCOUT_PUBLIC_URL for publicURL,
// TILESCOUT_LIMITS_CONNECTIONS for limits.connections.
func Variable(key string) string {
	var b strings.Builder
	b.WriteString(prefix)
	lower := false
	for _, r := range key {
		switch {
		case r == '.':
			b.WriteByte('_')
		case unicode.IsUpper(r) && lower:
			b.WriteByte('_')
			b.WriteRune(r)
		default:
			b.WriteRune(unicode.ToUpper(r))
		}
		lower = unicode.IsLower(r)
	}
	return b.String()
}

// override sets every key whose variable is in the environment. Texts, numbers and durations stand as they are,
// a list of texts is separated by commas, layers and searches are YAML.
func override(c *Config, d *decoder, lookup func(string) (string, bool)) error {
	return overrideStruct(reflect.ValueOf(c).Elem(), "", d, lookup)
}

func overrideStruct(v reflect.Value, path string, d *decoder, lookup func(string) (string, bool)) error {
	for i := range v.NumField() {
		key, field := join(path, v.Type().Field(i).Tag.Get("yaml")), v.Field(i)
		if field.Kind() == reflect.Struct {
			if err := overrideStruct(field, key, d, lookup); err != nil {
				return err
			}
			continue
		}
		name := Variable(key)
		value, ok := lookup(name)
		if !ok {
			continue
		}
		// From here on a message about this key names the variable and no line of the file.
		for at := range d.places {
			if at == key || strings.HasPrefix(at, key+"[") {
				delete(d.places, at)
			}
		}
		env := &decoder{name: name}
		switch {
		case field.Type() == durationType:
			got, err := time.ParseDuration(value)
			if err != nil {
				return env.errorf("", "want a duration like 30s, not %.40q", value)
			}
			field.SetInt(int64(got))
		case field.Kind() == reflect.String:
			field.SetString(value)
		case field.Kind() == reflect.Int:
			got, err := strconv.Atoi(value)
			if err != nil {
				return env.errorf("", "want a whole number, not %.40q", value)
			}
			field.SetInt(int64(got))
		case field.Type() == reflect.TypeFor[[]string]():
			list := []string{}
			for part := range strings.SplitSeq(value, ",") {
				if part = strings.TrimSpace(part); part != "" {
					list = append(list, part)
				}
			}
			field.Set(reflect.ValueOf(list))
		default:
			env.places = map[string]place{}
			holder := reflect.New(field.Type())
			if err := env.decode([]byte(value), holder.Interface()); err != nil {
				return err
			}
			field.Set(holder.Elem())
		}
	}
	return nil
}
