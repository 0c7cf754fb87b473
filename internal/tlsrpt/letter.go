package tlsrpt

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"time"
)

// Letter is the message that carries a report (RFC 8460 section 5.3), with LF
// line ends. It says that it need not be secured (RFC 8689), for it may be about
// TLS that does not work.
func Letter(to string, r Report, messageID, date string) string {
	const boundary = "sekisho-tlsrpt"
	encoded := base64.StdEncoding.EncodeToString(r.Body)
	var lines bytes.Buffer
	for len(encoded) > 76 {
		lines.WriteString(encoded[:76] + "\n")
		encoded = encoded[76:]
	}
	lines.WriteString(encoded + "\n")
	return fmt.Sprintf(`From: <%s>
To: <%s>
Date: %s
Message-ID: <%s>
Subject: Report Domain: %s Submitter: %s Report-ID: <%s>
TLS-Report-Domain: %s
TLS-Report-Submitter: %s
TLS-Required: No
MIME-Version: 1.0
Auto-Submitted: auto-generated
Content-Type: multipart/report; report-type="tlsrpt"; boundary="%s"

--%s
Content-Type: text/plain; charset=us-ascii

This is an aggregate TLS report from %s about mail for %s,
from %s to %s.

--%s
Content-Type: application/tlsrpt+gzip
Content-Transfer-Encoding: base64
Content-Disposition: attachment; filename="%s"

%s
--%s--
`, r.Contact, to, date, messageID, r.Domain, r.Organization, r.ID, r.Domain, r.Organization, boundary, boundary,
		r.Organization, r.Domain, r.Begin.Format(time.RFC3339), r.End.Format(time.RFC3339), boundary, r.FileName(), lines.String(), boundary)
}

// Upload returns a function that uploads reports with client (RFC 8460 section
// 5.4).
func Upload(client *http.Client) func(ctx context.Context, url string, r Report) error {
	return func(ctx context.Context, url string, r Report) error {
		q, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(r.Body))
		if err != nil {
			return err
		}
		q.Header.Set("Content-Type", "application/tlsrpt+gzip")
		answer, err := client.Do(q)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		if answer.StatusCode/100 != 2 {
			return fmt.Errorf("%s says %s", url, answer.Status)
		}
		return nil
	}
}
