package deliver

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

// DeliveredTo returns the addresses in the message's Delivered-To headers, in
// lower case: whoever is among them has had it before.
func (r *Request) DeliveredTo() (map[string]bool, error) {
	content, err := r.Content()
	if err != nil {
		return nil, err
	}
	defer content.Close()
	found := make(map[string]bool)
	in := bufio.NewReader(content)
	for {
		line, err := in.ReadString('\n')
		if n := mimestate.HeaderName([]byte(line[:min(len(line), maxLine)])); n > 0 {
			if strings.EqualFold(line[:n], "Delivered-To") {
				_, value, _ := strings.Cut(line[n:], ":")
				for _, a := range tok822.Parse(value, 0).Addresses() {
					found[strings.ToLower(mail.Unquote(a.External()))] = true
				}
			}
		} else if !strings.HasPrefix(line, " ") && !strings.HasPrefix(line, "\t") {
			return found, nil
		}
		if err == io.EOF {
			return found, nil
		}
		if err != nil {
			return nil, err
		}
	}
}
