package deliver

import (
	"strings"

	"sekisho/internal/mail"
)

// SplitStatus cuts an enhanced status code off the beginning of a text, as the
// next hop of the error and discard transports may have one. Without one the
// code is fallback.
func SplitStatus(text, fallback string) (dsn, rest string) {
	text = strings.TrimSpace(text)
	word, rest, _ := strings.Cut(text, " ")
	if mail.IsStatus(word) {
		return word, strings.TrimSpace(rest)
	}
	return fallback, text
}
