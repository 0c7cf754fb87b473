package main

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sekisho/conformance"
	"sekisho/conformance/sandbox"
)

// The roles of workers: one for each server.
const (
	rolePostfix = "diff-postfix"
	roleSekisho = "diff-sekisho"
)

// binaryVariable names the program to serve with.
const binaryVariable = "SEKISHO_BINARY"

// patience is how long a server may take to log the end of a session.
const patience = 20 * time.Second

// request builds the world, or plays the dialogues of some services.
type request struct {
	World *world
	Play  map[int][]talk // by service
}

// reply has an outcome for each dialogue.
type reply struct {
	Play map[int][]outcome
}

// worker is the machine a server runs on.
type worker struct {
	sekisho bool
	world   *world
	log     *catcher
}

// work is the life of a worker process.
func work(role string) error {
	w := &worker{sekisho: role == roleSekisho}
	return sandbox.Serve(w.handle)
}

func (w *worker) handle(r request) (reply, error) {
	if r.World != nil {
		w.world = r.World
		return reply{}, w.up()
	}
	out := reply{Play: map[int][]outcome{}}
	var mu sync.Mutex
	var all sync.WaitGroup
	for n, talks := range r.Play {
		all.Go(func() {
			var outcomes []outcome
			for _, t := range talks {
				o := w.play(n, t)
				if outcomes = append(outcomes, o); o.Err != "" { // and the rest would take long
					break
				}
			}
			mu.Lock()
			defer mu.Unlock()
			out.Play[n] = outcomes
		})
	}
	all.Wait()
	return out, nil
}

// play has one dialogue with a service.
func (w *worker) play(n int, t talk) outcome {
	name := serviceName(n)
	script := &conformance.Transcript{Client: "127.0.0.1", Port: port(n), Steps: t.steps()}
	said, err := conformance.Play(script, patience)
	o := outcome{Steps: said}
	if err != nil {
		o.Err = err.Error()
	}
	var ended bool
	if o.Log, ended = w.log.session(name, patience); !ended && err == nil {
		o.Err = "the session's end is not in the log"
	}
	if o.Err != "" {
		o.Log = append(o.Log, w.log.stray()...)
	}
	return o
}

func port(n int) int           { return 10001 + n }
func serviceName(n int) string { return "v" + strconv.Itoa(n) }

// up makes the machine and starts the server.
func (w *worker) up() error {
	if err := sandbox.Isolate(); err != nil {
		return err
	}
	keep := debianTables()
	for dir, mode := range map[string]os.FileMode{
		"/etc/postfix": 0o755, "/var/spool/postfix": 0o755, "/var/lib/postfix": 0o755, "/var/log": 0o755,
		"/var/mail": 0o755, "/run": 0o755,
	} {
		if err := sandbox.Empty(dir, mode); err != nil {
			return err
		}
	}
	if err := giveAway("/var/lib/postfix"); err != nil {
		return err
	}
	var err error
	if w.log, err = catchLog(); err != nil {
		return err
	}
	if err := w.write(keep); err != nil {
		return err
	}
	for file, text := range map[string]string{
		"/etc/resolv.conf": "nameserver 127.0.0.1\noptions timeout:1 attempts:2\n", "/etc/hosts": "127.0.0.1 localhost\n",
	} {
		if err := replace(file, text); err != nil {
			return err
		}
	}
	if err := startPeers(w.world); err != nil {
		return err
	}
	if err := w.start(); err != nil {
		return fmt.Errorf("%w\n%s", err, strings.Join(w.log.stray(), "\n"))
	}
	return nil
}

func replace(file, text string) error {
	with := filepath.Join("/run", filepath.Base(file))
	if err := os.WriteFile(with, []byte(text), 0o644); err != nil {
		return err
	}
	return sandbox.Replace(file, with)
}

// giveAway makes dir belong to the user of mail_owner.
func giveAway(dir string) error {
	owner, err := user.Lookup("postfix")
	if err != nil {
		return fmt.Errorf("mail_owner: %w", err)
	}
	uid, err := strconv.Atoi(owner.Uid)
	if err != nil {
		return err
	}
	return os.Chown(dir, uid, -1)
}

// debianTables keeps what Debian's packages have in /etc/postfix for table types.
func debianTables() map[string][]byte {
	keep := make(map[string][]byte)
	for _, pattern := range []string{"dynamicmaps.cf", "postfix-files", "dynamicmaps.cf.d/*"} {
		found, _ := filepath.Glob("/etc/postfix/" + pattern)
		for _, f := range found {
			if b, err := os.ReadFile(f); err == nil {
				keep[strings.TrimPrefix(f, "/etc/postfix/")] = b
			}
		}
	}
	return keep
}

// write writes the configuration.
func (w *worker) write(files map[string][]byte) error {
	files["main.cf"] = []byte(w.mainCf())
	files["master.cf"] = []byte(w.masterCf())
	for name, text := range w.world.Files {
		files[tableDir+"/"+name] = []byte(text)
	}
	for n, s := range w.world.Services {
		for name, text := range s.Files {
			files[ownDir(n)+"/"+name] = []byte(text)
		}
	}
	for name, text := range files {
		path := filepath.Join("/etc/postfix", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (w *worker) mainCf() string {
	var b strings.Builder
	b.WriteString(baseMain)
	for _, s := range w.world.Main {
		b.WriteString(s.text() + "\n")
	}
	b.WriteString("proxy_read_maps = proxy:texthash:$config_directory/" + tableDir + "/proxied")
	for n, s := range w.world.Services {
		if len(s.Files) > 0 {
			b.WriteString(" proxy:texthash:$config_directory/" + ownDir(n) + "/proxied")
		}
	}
	b.WriteString("\n")
	return b.String()
}

// masterCf has a listener for each service.
func (w *worker) masterCf() string {
	var b strings.Builder
	b.WriteString(baseMaster)
	for n, s := range w.world.Services {
		verbose := ""
		if s.Verbose && !w.sekisho {
			verbose = " -v"
		}
		fmt.Fprintf(&b, "127.0.0.1:%d inet n - n - 1 smtpd%s\n -o syslog_name=postfix/%s\n", port(n), verbose, serviceName(n))
		for _, o := range s.Settings {
			text := o.text()
			if len(s.Files) > 0 {
				text = strings.ReplaceAll(text, "$config_directory/"+tableDir+"/", "$config_directory/"+ownDir(n)+"/")
			}
			fmt.Fprintf(&b, " -o { %s }\n", text)
		}
	}
	return b.String()
}

// tableDir is where a world's tables are below the configuration directory.
const tableDir = "t"

func ownDir(service int) string { return tableDir + strconv.Itoa(service) }

func (w *worker) start() error {
	if w.sekisho {
		return w.serve()
	}
	if err := w.index(); err != nil {
		return err
	}
	if err := command("postfix", "start"); err != nil {
		return err
	}
	return startAuth("/var/spool/postfix/private/auth", "/var/spool/postfix/private/policy")
}

// index makes the databases of tables that Postfix needs as such.
func (w *worker) index() error {
	dirs := []string{tableDir}
	for n, s := range w.world.Services {
		if len(s.Files) > 0 {
			dirs = append(dirs, ownDir(n))
		}
	}
	var tables []string
	for _, dir := range dirs {
		for _, typ := range indexed {
			if path := filepath.Join("/etc/postfix", dir, typ); exists(path) {
				tables = append(tables, typ+":"+path)
			}
		}
	}
	if len(tables) == 0 {
		return nil
	}
	return command("postmap", tables...)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func (w *worker) serve() error {
	if err := os.MkdirAll("/var/spool/postfix/private", 0o755); err != nil {
		return err
	}
	if err := startAuth("/var/spool/postfix/private/auth", "/var/spool/postfix/private/policy"); err != nil {
		return err
	}
	if err := giveAway("/var/spool/postfix"); err != nil {
		return err
	}
	c := exec.Command(os.Getenv(binaryVariable), "serve", "-c", "/etc/postfix")
	c.Stdout, c.Stderr = os.Stderr, os.Stderr
	if err := c.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	last := fmt.Sprintf("127.0.0.1:%d", port(len(w.world.Services)-1))
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		select {
		case err := <-ended:
			return fmt.Errorf("sekisho ended: %v", err)
		default:
		}
		if listening(last) {
			return nil
		}
	}
	return fmt.Errorf("sekisho does not listen at %s", last)
}

// listening looks whether there is a listener, without connecting: that would be
// a session.
func listening(addr string) bool {
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return false
	}
	_, p, _ := strings.Cut(addr, ":")
	n, _ := strconv.Atoi(p)
	want := fmt.Sprintf(" 0100007F:%04X 00000000:0000 0A ", n)
	return strings.Contains(string(table), want)
}

// command runs a command. Its output goes to a file: a daemon it leaves behind
// would keep a pipe open.
func command(name string, args ...string) error {
	out, err := os.CreateTemp("/run", "output")
	if err != nil {
		return err
	}
	defer out.Close()
	c := exec.Command(name, args...)
	c.Stdout, c.Stderr = out, out
	if err := c.Run(); err != nil {
		text, _ := os.ReadFile(out.Name())
		return fmt.Errorf("%s: %w\n%s", name, err, text)
	}
	return nil
}

// devices are what the servers need of /dev besides the log.
func devices() error {
	if err := sandbox.Empty("/dev", 0o755); err != nil {
		return err
	}
	for name, minor := range map[string]uint32{"null": 3, "zero": 5, "full": 7, "random": 8, "urandom": 9} {
		path := "/dev/" + name
		if err := unix.Mknod(path, unix.S_IFCHR|0o666, int(unix.Mkdev(1, minor))); err != nil {
			return fmt.Errorf("making %s: %w", path, err)
		}
		if err := os.Chmod(path, 0o666); err != nil {
			return err
		}
	}
	return os.Symlink("/proc/self/fd", "/dev/fd")
}

// sorted are the keys of a map in order.
func sorted[V any](m map[string]V) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
