package mimestate

// converts reports whether the current part is being made fit for 7 bits.
func (w *Walker) converts() bool { return w.o.Downgrade && w.part.domain != "7bit" }

// newEncoding is the header that a converted part gets instead of its own: a
// part made of parts needs none, for they are converted one by one.
func (w *Walker) newEncoding() string {
	p := w.part
	if p.major == "multipart" || p.major == "message" && p.minor != "global" {
		return "Content-Transfer-Encoding: 7bit"
	}
	return "Content-Transfer-Encoding: quoted-printable"
}

// maxQuoted is how long an encoded line may be before it gets a soft line
// break.
const maxQuoted = 72

// quote puts out a line of a body as quoted-printable (RFC 2045 section 6.7).
func (w *Walker) quote(text []byte, more bool) {
	const hex = "0123456789ABCDEF"
	for _, c := range text {
		if len(w.quoted) > maxQuoted {
			w.emit(append(w.quoted, '='), false)
			w.quoted = w.quoted[:0]
		}
		if c < ' ' && c != '\t' || c == '=' || c > 126 {
			w.quoted = append(w.quoted, '=', hex[c>>4], hex[c&15])
		} else {
			w.quoted = append(w.quoted, c)
		}
	}
	if more {
		return
	}
	if n := len(w.quoted); n > 0 && (w.quoted[n-1] == ' ' || w.quoted[n-1] == '\t') {
		c := w.quoted[n-1]
		w.quoted = append(w.quoted[:n-1], '=', hex[c>>4], hex[c&15])
	}
	w.emit(w.quoted, false)
	w.quoted = w.quoted[:0]
}
