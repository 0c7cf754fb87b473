package mail

import (
	"strconv"
	"strings"
)

// Reply is one SMTP reply: the code, the enhanced status code of RFC 3463
// (empty where Postfix sends none), and the text. The zero Reply means that
// there is nothing to say.
type Reply struct {
	Code   int
	Status string
	Text   string
}

// String returns the reply as it goes out, without CRLF.
func (r Reply) String() string {
	b := strconv.AppendInt(make([]byte, 0, 8+len(r.Status)+len(r.Text)), int64(r.Code), 10)
	if r.Status != "" {
		b = append(b, ' ')
		b = append(b, r.Status...)
	}
	b = append(b, ' ')
	b = append(b, r.Text...)
	return string(b)
}

// IsZero reports whether there is no reply.
func (r Reply) IsZero() bool { return r.Code == 0 }

// Failed reports whether the reply refuses: 4xx or 5xx.
func (r Reply) Failed() bool { return r.Code >= 400 }

// Closes reports whether the connection ends after this reply: 421 and 521.
func (r Reply) Closes() bool { return r.Code == 421 || r.Code == 521 }

// ParseReply reads "CODE [STATUS] TEXT". ok is false when the code is not
// three digits between 200 and 599.
func ParseReply(s string) (r Reply, ok bool) {
	code, rest, _ := strings.Cut(s, " ")
	n, err := strconv.Atoi(code)
	if err != nil || len(code) != 3 || n < 200 || n > 599 {
		return Reply{}, false
	}
	r.Code, r.Text = n, rest
	if st, text, _ := strings.Cut(rest, " "); IsStatus(st) {
		r.Status, r.Text = st, text
	}
	return r, true
}

// IsStatus reports whether s is an enhanced status code: a class 2, 4 or 5,
// a subject and a detail of one to three digits (RFC 3463 section 2).
func IsStatus(s string) bool {
	p := strings.Split(s, ".")
	if len(p) != 3 || (p[0] != "2" && p[0] != "4" && p[0] != "5") {
		return false
	}
	return isShortNumber(p[1]) && isShortNumber(p[2])
}

func isShortNumber(s string) bool {
	if len(s) < 1 || len(s) > 3 {
		return false
	}
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}
