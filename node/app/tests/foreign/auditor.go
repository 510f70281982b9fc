// An auditor that knows nothing of this project: it reads a ledger as C2SP tlog-tiles lays it out and
// checks it with the packages note and tlog of Go's checksum database.
//
//	auditor log SOURCE KEY [OLD-CHECKPOINT]     the whole log: head, tiles, entries, every proof
//	auditor proofs SOURCE KEY PROOF.json...     proofs that a node printed, against the log's head
//	auditor tlog-proof KEY FILE                 a C2SP tlog-proof, with nothing else at hand
//	auditor note FILE KEY...                    a note that all of these keys signed
//	auditor evidence FILE ROOT ENTRIES          an audit's leaves up to an inventory's root (hex)
//
// SOURCE is a URL prefix or a folder with the same files. It ends with 0 when everything holds, and with
// 1 and a line that begins with "refused: " when something does not.
package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	tileHeight   = 8
	tileWidth    = 1 << tileHeight
	resourceMax  = 8 << 20
	tileType     = "application/octet-stream"
	headType     = "text/plain; charset=utf-8"
	tlogProof    = "c2sp.org/tlog-proof@v1"
	chunkLeafLen = 1024
	samplesDrawn = 64
)

func main() {
	defer func() {
		if r := recover(); r != nil {
			refusal, ok := r.(refused)
			if !ok {
				panic(r)
			}
			fmt.Fprintln(os.Stderr, "refused:", refusal.why)
			os.Exit(1)
		}
	}()
	arguments := os.Args[1:]
	switch {
	case len(arguments) >= 3 && len(arguments) <= 4 && arguments[0] == "log":
		checkLog(arguments[1], arguments[2], arguments[3:])
	case len(arguments) >= 4 && arguments[0] == "proofs":
		checkProofs(arguments[1], arguments[2], arguments[3:])
	case len(arguments) == 3 && arguments[0] == "tlog-proof":
		checkTlogProof(arguments[1], arguments[2])
	case len(arguments) >= 3 && arguments[0] == "note":
		checkNote(arguments[1], arguments[2:])
	case len(arguments) == 4 && arguments[0] == "evidence":
		checkEvidence(arguments[1], arguments[2], arguments[3])
	default:
		fmt.Fprintln(os.Stderr, "usage: see the head of auditor.go")
		os.Exit(2)
	}
}

// refused is what a check panics with; main turns it into the last line.
type refused struct{ why string }

func refuse(format string, arguments ...interface{}) {
	panic(refused{fmt.Sprintf(format, arguments...)})
}

func must(what string, err error) {
	if err != nil {
		refuse("%s: %v", what, err)
	}
}

// source gives the resources of a log.
type source struct{ prefix string }

var client = &http.Client{Timeout: 60 * time.Second}

func (s source) get(path, contentType string) []byte {
	if !strings.HasPrefix(s.prefix, "http://") {
		bytes, err := os.ReadFile(filepath.Join(s.prefix, filepath.FromSlash(path)))
		must("read", err)
		return bytes
	}
	answer, err := client.Get(s.prefix + "/" + path)
	must("fetch", err)
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		refuse("%s: %s", path, answer.Status)
	}
	if found := answer.Header.Get("Content-Type"); found != contentType {
		refuse("%s has the type %q", path, found)
	}
	bytes, err := io.ReadAll(io.LimitReader(answer.Body, resourceMax+1))
	must("fetch", err)
	if len(bytes) > resourceMax {
		refuse("%s is too large", path)
	}
	return bytes
}

// index writes a number in elements of three digits, all but the last with an x before it.
func index(n int64) string {
	text := fmt.Sprintf("%03d", n%1000)
	for n >= 1000 {
		n /= 1000
		text = fmt.Sprintf("x%03d/%s", n%1000, text)
	}
	return text
}

func resourcePath(level string, n int64, width int) string {
	path := "tile/" + level + "/" + index(n)
	if width < tileWidth {
		path += ".p/" + strconv.Itoa(width)
	}
	return path
}

// tiles reads tiles for tlog, which checks them against the head.
type tiles struct{ source source }

func (t tiles) Height() int                     { return tileHeight }
func (t tiles) SaveTiles([]tlog.Tile, [][]byte) {}
func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var data [][]byte
	for _, tile := range wanted {
		data = append(data, t.source.get(resourcePath(strconv.Itoa(tile.L), tile.N, tile.W), tileType))
	}
	return data, nil
}

// openHead checks the signature of a checkpoint and reads it.
func openHead(bytes []byte, key string) tlog.Tree {
	verifier, err := note.NewVerifier(key)
	must("key", err)
	opened, err := note.Open(bytes, note.VerifierList(verifier))
	must("checkpoint", err)
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[3] != "" || lines[0] != verifier.Name() {
		refuse("checkpoint: it is not one of %s", verifier.Name())
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	must("checkpoint", err)
	root, err := tlog.ParseHash(lines[2])
	must("checkpoint", err)
	return tlog.Tree{N: size, Hash: root}
}

func openLog(prefix, key string) (source, tlog.Tree, tlog.HashReader) {
	from := source{strings.TrimRight(prefix, "/")}
	head := openHead(from.get("checkpoint", headType), key)
	return from, head, tlog.TileHashReader(head, tiles{from})
}

// entries reads a bundle: two bytes of length before each entry.
func entries(bundle []byte, count int) [][]byte {
	var found [][]byte
	for len(bundle) > 0 {
		if len(bundle) < 2 || len(bundle)-2 < int(binary.BigEndian.Uint16(bundle)) {
			refuse("a bundle of entries is cut off")
		}
		end := 2 + int(binary.BigEndian.Uint16(bundle))
		found = append(found, bundle[2:end])
		bundle = bundle[end:]
	}
	if len(found) != count {
		refuse("a bundle has %d entries, not %d", len(found), count)
	}
	return found
}

func checkLog(prefix, key string, old []string) {
	from, head, reader := openLog(prefix, key)
	root, err := tlog.TreeHash(head.N, reader)
	must("root", err)
	if root != head.Hash {
		refuse("the tiles have another root than the checkpoint")
	}
	for at := int64(0); at < head.N; at += tileWidth {
		width := tileWidth
		if head.N-at < tileWidth {
			width = int(head.N - at)
		}
		bundle := from.get(resourcePath("entries", at/tileWidth, width), tileType)
		for number, entry := range entries(bundle, width) {
			entryIndex := at + int64(number)
			proof, err := tlog.ProveRecord(head.N, entryIndex, reader)
			must("proof", err)
			err = tlog.CheckRecord(proof, head.N, head.Hash, entryIndex, tlog.RecordHash(entry))
			must(fmt.Sprintf("entry %d", entryIndex), err)
		}
	}
	report := map[string]interface{}{"size": head.N, "root": head.Hash.String()}
	for _, file := range old {
		bytes, err := os.ReadFile(file)
		must("read", err)
		before := openHead(bytes, key)
		proof, err := tlog.ProveTree(head.N, before.N, reader)
		must("proof", err)
		must("consistency", tlog.CheckTree(proof, head.N, head.Hash, before.N, before.Hash))
		report["continues"] = before.N
	}
	must("print", json.NewEncoder(os.Stdout).Encode(report))
}

// printed is what `ledger prove` and `ledger prove-consistency` print.
type printed struct {
	Index *int64
	Size  int64
	Root  tlog.Hash
	Note  string
	Old   *struct {
		Size int64
		Root tlog.Hash
	}
	New struct {
		Size int64
		Root tlog.Hash
	}
	Proof []tlog.Hash
}

func checkProofs(prefix, key string, files []string) {
	_, head, reader := openLog(prefix, key)
	rootOf := func(size int64) tlog.Hash {
		if size < 1 || size > head.N {
			refuse("the head has %d entries, not %d", head.N, size)
		}
		root, err := tlog.TreeHash(size, reader)
		must("root", err)
		return root
	}
	for _, file := range files {
		bytes, err := os.ReadFile(file)
		must("read", err)
		var proof printed
		must(file, json.Unmarshal(bytes, &proof))
		switch {
		case proof.Index != nil:
			root := rootOf(proof.Size)
			if root != proof.Root {
				refuse("%s: another root than the log's", file)
			}
			leaf := tlog.RecordHash([]byte(proof.Note))
			must(file, tlog.CheckRecord(proof.Proof, proof.Size, root, *proof.Index, leaf))
		case proof.Old != nil:
			older, newer := rootOf(proof.Old.Size), rootOf(proof.New.Size)
			if older != proof.Old.Root || newer != proof.New.Root {
				refuse("%s: other roots than the log's", file)
			}
			must(file, tlog.CheckTree(proof.Proof, proof.New.Size, newer, proof.Old.Size, older))
		default:
			refuse("%s is no proof", file)
		}
	}
	fmt.Println(len(files))
}

func checkTlogProof(key, file string) {
	bytes, err := os.ReadFile(file)
	must("read", err)
	parts := strings.SplitN(string(bytes), "\n\n", 2)
	if len(parts) != 2 {
		refuse("it has no checkpoint")
	}
	lines := strings.Split(parts[0], "\n")
	if len(lines) < 3 || lines[0] != tlogProof || !strings.HasPrefix(lines[1], "extra ") ||
		!strings.HasPrefix(lines[2], "index ") {
		refuse("it is no tlog-proof with an entry in it")
	}
	entry, err := base64.StdEncoding.DecodeString(lines[1][len("extra "):])
	must("extra", err)
	at, err := strconv.ParseInt(lines[2][len("index "):], 10, 64)
	must("index", err)
	var proof tlog.RecordProof
	for _, line := range lines[3:] {
		hash, err := tlog.ParseHash(line)
		must("hash", err)
		proof = append(proof, hash)
	}
	head := openHead([]byte(parts[1]), key)
	must("proof", tlog.CheckRecord(proof, head.N, head.Hash, at, tlog.RecordHash(entry)))
	os.Stdout.Write(entry)
}

func checkNote(file string, keys []string) {
	bytes, err := os.ReadFile(file)
	must("read", err)
	var verifiers []note.Verifier
	for _, key := range keys {
		verifier, err := note.NewVerifier(key)
		must("key", err)
		verifiers = append(verifiers, verifier)
	}
	opened, err := note.Open(bytes, note.VerifierList(verifiers...))
	must("note", err)
	if len(opened.Sigs) != len(keys) {
		refuse("%d of %d keys signed it", len(opened.Sigs), len(keys))
	}
	fmt.Print(opened.Text)
}

// checkEvidence draws the positions again, and goes from each leaf that is shown to its chunk's id, and
// from there to the root of the inventory.
func checkEvidence(file, inventoryRoot, entryCount string) {
	bytes, err := os.ReadFile(file)
	must("read", err)
	root := parseHex(inventoryRoot)
	count, err := strconv.ParseInt(entryCount, 10, 64)
	must("entries", err)
	evidence := list(decodeCbor(bytes), 2)
	challenge := list(evidence[0], -1)
	drawn := positions(challenge, root)
	if integer(challenge[3]) != count {
		refuse("the challenge is about %d entries", integer(challenge[3]))
	}
	samples := list(list(evidence[1], 1)[0], len(drawn))
	leaves := 0
	for number, item := range samples {
		sample := list(item, 4)
		entry := list(sample[1], 3)
		offset, length := integer(entry[0]), integer(entry[1])
		id, held := entry[2].([]byte)
		if !held {
			id = make([]byte, tlog.HashSize)
		}
		record := binary.BigEndian.AppendUint64(nil, uint64(offset))
		record = binary.BigEndian.AppendUint32(record, uint32(length))
		record = append(record, id...)
		err := tlog.CheckRecord(path(sample[2]), count, root, integer(sample[0]), tlog.RecordHash(record))
		must(fmt.Sprintf("sample %d: inventory", number), err)
		within := drawn[number] - offset
		if within < 0 || within >= length {
			refuse("sample %d: another chunk than the one that was drawn", number)
		}
		shown := list(sample[3], 2)
		switch what := integer(shown[0]); {
		case what == 0 && !held, what == 2 && held:
			continue // a hole, or a chunk that the provider says it lost
		case what != 1:
			refuse("sample %d: what is shown does not fit its entry", number)
		}
		leaf := list(shown[1], 2)
		content, ok := leaf[0].([]byte)
		at, leafCount := within/chunkLeafLen, (length+chunkLeafLen-1)/chunkLeafLen
		var chunk tlog.Hash
		if !ok || copy(chunk[:], id) != tlog.HashSize || len(content) > chunkLeafLen {
			refuse("sample %d: a leaf is not bytes of a chunk", number)
		}
		err = tlog.CheckRecord(path(leaf[1]), leafCount, chunk, at, tlog.RecordHash(content))
		must(fmt.Sprintf("sample %d: leaf", number), err)
		leaves++
	}
	fmt.Println(leaves)
}

// positions draws one byte in each 64th of the inventory's span, from a hash over the challenge.
func positions(challenge []interface{}, root tlog.Hash) []int64 {
	if len(challenge) < 7 {
		refuse("the challenge has %d fields", len(challenge))
	}
	text := func(item interface{}) []byte {
		bytes, ok := item.([]byte)
		if !ok || len(bytes) != tlog.HashSize {
			refuse("the challenge has something else where 32 bytes belong")
		}
		return bytes
	}
	if string(text(challenge[2])) != string(root[:]) {
		refuse("the challenge is about another inventory")
	}
	seeded := append([]byte("commonhold/v1/audit-seed"), text(challenge[0])...)
	seeded = append(seeded, root[:]...)
	seeded = binary.BigEndian.AppendUint64(seeded, uint64(integer(challenge[1])))
	seeded = binary.BigEndian.AppendUint64(seeded, uint64(integer(challenge[5])))
	seeded = append(seeded, text(challenge[6])...)
	if len(challenge) == 8 && challenge[7] != nil {
		seeded = append(append(seeded, 1), text(challenge[7])...)
	} else {
		seeded = append(seeded, 0)
	}
	seed := sha256.Sum256(seeded)
	span := big.NewInt(integer(challenge[4]))
	var drawn []int64
	for part := int64(0); span.Sign() > 0 && part < samplesDrawn; part++ {
		bound := func(part int64) *big.Int {
			product := new(big.Int).Mul(span, big.NewInt(part))
			return product.Div(product, big.NewInt(samplesDrawn))
		}
		low, high := bound(part), bound(part+1)
		width := new(big.Int).Sub(high, low)
		if width.Sign() == 0 {
			refuse("an inventory of less than %d bytes", samplesDrawn)
		}
		hashed := append([]byte("commonhold/v1/audit-position"), seed[:]...)
		digest := sha256.Sum256(binary.BigEndian.AppendUint32(hashed, uint32(part)))
		draw := new(big.Int).SetBytes(digest[:16])
		drawn = append(drawn, low.Add(low, draw.Mod(draw, width)).Int64())
	}
	return drawn
}

func parseHex(text string) tlog.Hash {
	var hash tlog.Hash
	bytes, err := hex.DecodeString(text)
	must("hexadecimal", err)
	if copy(hash[:], bytes) != tlog.HashSize || len(bytes) != tlog.HashSize {
		refuse("a hash has %d bytes", len(bytes))
	}
	return hash
}

func path(item interface{}) tlog.RecordProof {
	bytes, ok := item.([]byte)
	if !ok || len(bytes)%tlog.HashSize != 0 {
		refuse("a path is not whole hashes")
	}
	proof := make(tlog.RecordProof, len(bytes)/tlog.HashSize)
	for number := range proof {
		copy(proof[number][:], bytes[number*tlog.HashSize:])
	}
	return proof
}
