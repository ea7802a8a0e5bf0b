package main

import (
	"io"
	"log/slog"
	"regexp"
	"strings"
)

// newLog writes one JSON object a line. What may be a secret never gets there, whoever logs it: values whose name
// says so, and what follows a question mark in an address.
func newLog(w io.Writer, level string) *slog.Logger {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil { // the config was checked
		l = slog.LevelWarn
	}
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: l, ReplaceAttr: redactAttr}))
}

var (
	secretName  = regexp.MustCompile(`(?i)key|token|secret|password|authorization|cookie`)
	addressPart = regexp.MustCompile(`(://[^\s"'/?#]*@)|(\?[^\s"']*=[^\s"']*)`)
)

func redactAttr(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindAny {
		if err, ok := a.Value.Any().(error); ok {
			a.Value = slog.StringValue(err.Error())
		}
	}
	if a.Value.Kind() != slog.KindString {
		return a
	}
	// "key" alone names a setting of the config, as "limits.rate".
	if a.Key != "key" && secretName.MatchString(a.Key) {
		a.Value = slog.StringValue("***")
		return a
	}
	a.Value = slog.StringValue(addressPart.ReplaceAllStringFunc(a.Value.String(), func(s string) string {
		if strings.HasPrefix(s, "?") {
			return "?…"
		}
		return "://***@"
	}))
	return a
}
