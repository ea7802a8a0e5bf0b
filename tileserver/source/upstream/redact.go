package upstream

import (
	"net/url"
	"regexp"
	"strings"
)

// Mask stands for a secret in everything that people see.
const Mask = "***"

// secretName is what a query parameter is called whose value is nobody else's business. It masks rather too much.
var secretName = regexp.MustCompile(`(?i)key|token|secret|sig|auth|pass|pwd|cred|session|^(s|st|se|sv|sp|sr|policy|expires|code|k|ak|sk|id|uid|user|client)$|access`)

// RedactURL returns an address as logs and errors may show it: without user and password, without fragment, and with
// the values of query parameters masked that look like keys. Text that is no URL is masked as a whole: it may be
// anything. It never fails.
func RedactURL(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return Mask
	}
	path, query, hasQuery := strings.Cut(text, "?")
	path, _, _ = strings.Cut(path, "#")
	query, _, _ = strings.Cut(query, "#")
	if u.User != nil {
		scheme, rest, _ := strings.Cut(path, "//")
		authority, tail, slash := strings.Cut(rest, "/")
		authority = authority[strings.LastIndexByte(authority, '@')+1:]
		path = scheme + "//" + Mask + "@" + authority
		if slash {
			path += "/" + tail
		}
	}
	if !hasQuery {
		return path
	}
	return MaskQuery(path+"?"+query, secretName)
}

// MaskQuery masks the values of those query parameters of u whose names match. A value with a placeholder stays.
func MaskQuery(u string, names *regexp.Regexp) string {
	path, query, ok := strings.Cut(u, "?")
	if !ok {
		return u
	}
	pairs := strings.Split(query, "&")
	for i, p := range pairs {
		if name, value, ok := strings.Cut(p, "="); ok && names.MatchString(name) && !strings.Contains(value, "{") {
			pairs[i] = name + "=" + Mask
		}
	}
	return path + "?" + strings.Join(pairs, "&")
}

// SecretName tells whether a query parameter of this name holds a value that is not shown.
func SecretName(name string) bool { return secretName.MatchString(name) }
