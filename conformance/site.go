package conformance

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	_ "modernc.org/sqlite" // the driver accounts are written with

	"sekisho/conformance/sandbox"
	"sekisho/internal/clock"
	"sekisho/internal/directory"
)

//go:embed site
var site embed.FS

// Where things are, for both servers, inside of a worker's namespaces.
const (
	configDir = "/etc/postfix"
	mailBase  = "/var/mail/vmail"
	mailLog   = "/var/log/mail.log"
	accounts  = configDir + "/sql/directory.db"
	vmail     = 5000
)

// siteVariable tells a worker which variant of the site it is.
const siteVariable = "SEKISHO_CONFORMANCE_SITE"

// variantSettings is what a variant of the site adds to main.cf.
func variantSettings(name string) (string, error) {
	if name == "" {
		return "", nil
	}
	text, err := site.ReadFile("site/variants/" + name + ".cf")
	return string(text), err
}

// prepare makes the machine the site's own: empty folders where the
// configuration points, the configuration, the accounts, the resolver.
func prepare(extra string) error {
	keep, err := readDebianTables()
	if err != nil {
		return err
	}
	for dir, mode := range map[string]os.FileMode{
		configDir: 0o755, "/var/spool/postfix": 0o755, "/var/lib/postfix": 0o755,
		"/var/mail": 0o755, "/var/log": 0o755, "/run": 0o755,
	} {
		if err := sandbox.Empty(dir, mode); err != nil {
			return err
		}
	}
	if err := giveToOwner("/var/lib/postfix"); err != nil {
		return err
	}
	if err := os.Mkdir(mailBase, 0o755); err != nil {
		return err
	}
	if err := os.Chown(mailBase, vmail, vmail); err != nil {
		return err
	}
	if err := writeSite(keep, extra); err != nil {
		return err
	}
	if err := writeAccounts(); err != nil {
		return err
	}
	return writeResolver()
}

// giveToOwner makes dir belong to the user of mail_owner.
func giveToOwner(dir string) error {
	owner, err := user.Lookup("postfix")
	if err != nil {
		return fmt.Errorf("the site's mail_owner: %w", err)
	}
	uid, err := strconv.Atoi(owner.Uid)
	if err != nil {
		return err
	}
	return os.Chown(dir, uid, -1)
}

// readDebianTables keeps what Debian's packages have in /etc/postfix for table
// types and post-install checks. Without the packages there is nothing to keep.
func readDebianTables() (map[string][]byte, error) {
	keep := map[string][]byte{}
	for _, pattern := range []string{"dynamicmaps.cf*", "dynamicmaps.cf.d/*", "postfix-files", "postfix-script", "post-install"} {
		paths, err := filepath.Glob(filepath.Join(configDir, pattern))
		if err != nil {
			return nil, err
		}
		for _, path := range paths {
			if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
				if keep[path], err = os.ReadFile(path); err != nil {
					return nil, err
				}
			}
		}
	}
	return keep, nil
}

func writeSite(keep map[string][]byte, extra string) error {
	for path, content := range keep {
		if err := write(path, content, 0o755); err != nil {
			return err
		}
	}
	return fs.WalkDir(site, "site", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := site.ReadFile(name)
		if err != nil {
			return err
		}
		if name == "site/main.cf" {
			content = replaceSettings(string(content), extra)
		}
		return write(filepath.Join(configDir, strings.TrimPrefix(name, "site/")), content, 0o644)
	})
}

// settingName is the name at the beginning of a parameter's line.
var settingName = regexp.MustCompile(`(?m)^(\w+)\s*=`)

// replaceSettings adds settings to a main.cf and leaves out what they replace,
// which Postfix would warn of.
func replaceSettings(mainCf, extra string) []byte {
	replaced := map[string]bool{}
	for _, f := range settingName.FindAllStringSubmatch(extra, -1) {
		replaced[f[1]] = true
	}
	var out strings.Builder
	dropping := false
	for line := range strings.Lines(mainCf) {
		if line[0] != ' ' && line[0] != '\t' {
			f := settingName.FindStringSubmatch(line)
			dropping = f != nil && replaced[f[1]]
		}
		if !dropping {
			out.WriteString(line)
		}
	}
	return []byte(out.String() + extra)
}

func write(path string, content []byte, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, content, mode)
}

// writeAccounts makes the account database. It leaves it without a write-ahead
// log, which a reader that may not write could not open.
func writeAccounts() error {
	d, err := directory.Create(context.Background(), "sqlite:"+accounts, clock.System{})
	if err != nil {
		return err
	}
	if err := d.Close(); err != nil {
		return err
	}
	rows, err := site.ReadFile("site/accounts.sql")
	if err != nil {
		return err
	}
	db, err := sql.Open("sqlite", accounts)
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.Exec("PRAGMA journal_mode=DELETE;" + string(rows)); err != nil {
		return fmt.Errorf("filling the account database: %w", err)
	}
	return os.Chmod(accounts, 0o644)
}

// writeResolver has the C library and us ask the site's zone, and give up on a
// silent server soon: what is said then does not depend on when.
func writeResolver() error {
	const resolv = "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"
	for file, content := range map[string]string{"resolv.conf": resolv, "hosts": "127.0.0.1 localhost\n"} {
		with := filepath.Join("/run", file)
		if err := os.WriteFile(with, []byte(content), 0o644); err != nil {
			return err
		}
		if err := sandbox.Replace("/etc/"+file, with); err != nil {
			return err
		}
	}
	return nil
}
