package demo

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"sekisho/internal/clock"
	"sekisho/internal/directory"
	"sekisho/internal/directory/password"
)

//go:embed files
var files embed.FS

// Ports are where a new site listens, all on 127.0.0.1.
type Ports struct {
	SMTP        int `name:"smtp-port" default:"2525" help:"Port of a new site's SMTP server."`
	Submission  int `name:"submission-port" default:"2587" help:"The same, for users, with STARTTLS."`
	Submissions int `name:"submissions-port" default:"2465" help:"The same, with implicit TLS."`
	DNS         int `name:"dns-port" default:"2553" help:"Port of its name server."`
}

// values are what the files' templates can name.
type values struct {
	Dir   string
	Ports Ports
	UID   int
	GID   int
}

// nobody is named as the owner of the mail of a site that root makes: no table
// may name root. The demo writes mail as its own user in any case.
const nobody = 65534

func newValues(dir string, p Ports) values {
	v := values{Dir: dir, Ports: p, UID: os.Getuid(), GID: os.Getgid()}
	if v.UID == 0 {
		v.UID, v.GID = nobody, nobody
	}
	return v
}

// create makes what the folder dir lacks of a site.
func create(ctx context.Context, dir string, p Ports, c clock.Clock) error {
	for _, d := range []string{"", "sql", "mail", "queue", "data"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	v := newValues(dir, p)
	if err := writeFiles(v); err != nil {
		return err
	}
	if err := createCertificate(dir, c); err != nil {
		return err
	}
	return createAccounts(ctx, filepath.Join(dir, "directory.db"), c)
}

// writeFiles writes those of the site's files that are not there.
func writeFiles(v values) error {
	return fs.WalkDir(files, "files", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		t, err := template.ParseFS(files, path)
		if err != nil {
			return err
		}
		var b bytes.Buffer
		if err := t.Execute(&b, v); err != nil {
			return err
		}
		return writeNew(filepath.Join(v.Dir, strings.TrimPrefix(path, "files/")), b.Bytes(), 0o644)
	})
}

// writeNew writes a file unless there is one.
func writeNew(path string, content []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Close())
}

// accounts are the users of a new site; the password is the name before the
// "@" and "-demo".
var accounts = []struct{ address, name string }{
	{"alice@demo.test", "Alice"},
	{"bob@demo.test", "Bob"},
	{"carol@second.test", "Carol"},
}

// createAccounts makes the database of accounts, unless it is there. It gets
// its name when it is complete, so that an interrupted run leaves no half of
// one.
func createAccounts(ctx context.Context, path string, c clock.Clock) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	unfinished := path + ".new"
	if err := os.Remove(unfinished); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	d, err := directory.Create(ctx, "sqlite:"+unfinished, c)
	if err != nil {
		return err
	}
	if err := errors.Join(fill(ctx, d), d.Close()); err != nil {
		return err
	}
	return os.Rename(unfinished, path)
}

// fill adds domains and users.
func fill(ctx context.Context, d *directory.Directory) error {
	for domain, postmaster := range map[string]string{"demo.test": "alice@demo.test", "second.test": "carol@second.test"} {
		dom := directory.Domain{Name: domain, Transport: "virtual", Active: true}
		if err := d.AddDomain(ctx, dom, postmaster); err != nil {
			return err
		}
	}
	for _, a := range accounts {
		if err := addAccount(ctx, d, a.address, a.name); err != nil {
			return err
		}
	}
	return nil
}

func addAccount(ctx context.Context, d *directory.Directory, address, name string) error {
	stored, err := password.Hash("BLF-CRYPT", passwordOf(address))
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	return d.AddMailbox(ctx, directory.Mailbox{Username: address, Name: name, Active: true}, stored)
}

func passwordOf(address string) string {
	local, _, _ := strings.Cut(address, "@")
	return local + "-demo"
}
