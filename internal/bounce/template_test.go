package bounce

import (
	"mime"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sekisho/internal/config"
)

func templates(t *testing.T, mainCf, file string) (Templates, []string, error) {
	t.Helper()
	dir := t.TempDir()
	mainCf = "myhostname = xn--wgv71a119e.test\ndelay_warning_time = 90m\nsmtputf8_enable = yes\n" + mainCf
	if file != "" {
		mainCf += "bounce_template_file = " + dir + "/bounce.cf\n"
	}
	for name, text := range map[string]string{"main.cf": mainCf, "master.cf": "", "bounce.cf": file} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, _, err := config.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	ts, warnings, err := LoadTemplates(c)
	for i := range warnings {
		warnings[i] = strings.ReplaceAll(warnings[i], dir+"/", "")
	}
	return ts, warnings, err
}

func TestLanguages(t *testing.T) {
	for languages, want := range map[string]struct {
		subject string
		texts   []string
	}{
		"en":     {"Delayed Mail (still being retried)", []string{"at host 日本語.test.\n", "more than 1 hour(s).\nIt will be retried until it is 5 day(s) old"}},
		"ja, en": {"メールの配信が遅れています (再送を続けています)", []string{"お送りになったメールは 1 時間以上たっても", "5 日が過ぎるまで", "THIS IS A WARNING ONLY"}},
		"EN JA":  {"Delayed Mail (still being retried)", []string{"THIS IS A WARNING ONLY", "これは警告です"}},
	} {
		ts, _, err := templates(t, "sekisho_bounce_languages = "+languages+"\n", "")
		if err != nil {
			t.Fatal(err)
		}
		subject, err := new(mime.WordDecoder).DecodeHeader(strings.ReplaceAll(ts.delay.subject, "\n", ""))
		if err != nil || subject != want.subject || !ascii(ts.delay.subject) {
			t.Errorf("%s: subject %q %v", languages, ts.delay.subject, err)
		}
		at := 0
		for _, w := range want.texts {
			i := strings.Index(ts.delay.text[at:], w)
			if i < 0 {
				t.Errorf("%s: no %q in\n%s", languages, w, ts.delay.text[at:])
				continue
			}
			at += i
		}
	}
	for _, languages := range []string{"de", ""} {
		if _, _, err := templates(t, "sekisho_bounce_languages = "+languages+"\n", ""); err == nil || !strings.Contains(err.Error(), "main.cf:4") {
			t.Errorf("%q: %v", languages, err)
		}
	}
}

func TestTemplateFile(t *testing.T) {
	ts, warnings, err := templates(t, "company = ACME $mydomain\n", `# ours
failure_template = <<END
Charset: UTF-8
From: Post <post@x.test>
SUBJECT: Zurück

text
END

success_template = <<EOF
Subject: done
plain
EOF
`)
	// a Subject that is not ASCII makes Postfix ignore the template
	if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], "non-ASCII \"SUBJECT\" header value in failure template -- ignoring this template") {
		t.Errorf("%v %q", err, warnings)
	}
	if ts.failure.subject != "Undelivered Mail Returned to Sender" || ts.success.subject != "done" || ts.success.text != "plain\n" {
		t.Errorf("%+v", ts)
	}
	ts, warnings, err = templates(t, "company = ACME $mydomain\n", `failure_template = <<END
Charset: UTF-8
From: Post <post@x.test>
Postmaster-Subject: copy

Grüße von $myhostname, $company, $$5, $maximal_queue_lifetime_minutes.
  EOF
END
`)
	want := template{"UTF-8", "Post <post@x.test>", "Undelivered Mail Returned to Sender", "copy", "Grüße von 日本語.test, ACME test, $5, 7200.\n  EOF\n"}
	if err != nil || len(warnings) > 0 || ts.failure != want {
		t.Errorf("%v %q %+v", err, warnings, ts.failure)
	}
}

func TestTemplateMistakes(t *testing.T) {
	for file, want := range map[string]string{
		"failure_template = <<EOF\nSubject:\n\nx\nEOF\n":             "empty \"Subject\" header value",
		"failure_template = <<EOF\nX-Y: z\n\nx\nEOF\n":               "unknown \"X-Y\" header label",
		"success_template = <<EOF\nPostmaster-Subject: z\nx\nEOF\n":  "inapplicable \"Postmaster-Subject\" header label",
		"failure_template = <<EOF\nSubject: z\n\n\nEOF\n":            "missing message text in failure template",
		"failure_template = <<EOF\nGrüße\nEOF\n":                     "8-bit message text in failure template",
		"other_template = <<EOF\nx\nEOF\n":                           "unknown template name: other_template",
		"failure_template = <<EOF\nx\n":                              "missing \"EOF\" end marker",
		"verify_template = <<EOF\nSubject: z\n\n$anything\nEOF\nx=y": "unknown template name: x",
	} {
		if _, warnings, err := templates(t, "", file); err != nil || !strings.Contains(strings.Join(warnings, "|"), want) {
			t.Errorf("%q: %v %q, want %q", file, err, warnings, want)
		}
	}
	for file, want := range map[string]string{
		"failure_template\n":                                              "line 1: missing '='",
		"failure_template = <<\n":                                         "missing end marker after <<",
		"failure_template = <<EOF\n$nosuch\nEOF\n":                        "undefined $name in template: nosuch",
		"failure_template = <<EOF\n$maximal_queue_lifetime_months\nEOF\n": "undefined $name in template: maximal_queue_lifetime_months",
		"failure_template = <<EOF\n${myhostname\nEOF\n":                   "truncated macro reference",
	} {
		if _, _, err := templates(t, "", file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", file, err, want)
		}
	}
	if _, _, err := templates(t, "bounce_template_file = /no/such/file\n", ""); err == nil || !strings.Contains(err.Error(), "main.cf:4: bounce_template_file: open /no/such/file") {
		t.Errorf("%v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("Subject: x\n\ntext")
	f.Fuzz(func(t *testing.T, s string) {
		got, warning := parse(template{postmaster: "p"}, s, "failure")
		if warning == "" && (got.text == "" || !ascii(got.subject)) {
			t.Errorf("%q: %+v", s, got)
		}
	})
}
