package local

import (
	"bufio"
	"io"
	"strings"

	"sekisho/internal/mail"
	"sekisho/internal/mimestate"
	"sekisho/internal/tok822"
)

// maxLine is how much of a header's line is looked at.
const maxLine = 2048

// readHeaders notes the Delivered-To headers of the message: a recipient that
// is among them has had it before.
func (d *delivery) readHeaders() error {
	content, err := d.r.Content()
	if err != nil {
		return err
	}
	defer content.Close()
	d.delivered = make(map[string]bool)
	r := bufio.NewReader(content)
	for {
		line, err := r.ReadString('\n')
		if n := mimestate.HeaderName([]byte(line[:min(len(line), maxLine)])); n > 0 {
			if strings.EqualFold(line[:n], "Delivered-To") {
				d.note(line[n:])
			}
		} else if !strings.HasPrefix(line, " ") && !strings.HasPrefix(line, "\t") {
			return nil
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (d *delivery) note(value string) {
	_, value, _ = strings.Cut(value, ":")
	for _, a := range tok822.Parse(value, 0).Addresses() {
		d.delivered[strings.ToLower(mail.Unquote(a.External()))] = true
	}
}
