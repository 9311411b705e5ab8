package titanic

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"

	"github.com/tapedeck/tapedeck/internal/fsys"
)

// Errors of a log that is opened.
var (
	// ErrLog: the file is no job log.
	ErrLog = errors.New("titanic: not a job log")
	// ErrVersion: the log was written by a newer version.
	ErrVersion = errors.New("titanic: job log of an unknown version")
	// ErrDamaged: a part of the log that had been synced cannot be read. The error is
	// a *DamageError.
	ErrDamaged = errors.New("titanic: job log is damaged")
)

// DamageError says which part of a log cannot be read although it was synced.
type DamageError struct {
	Name     string
	From, To int64 // bytes from the log's beginning
}

// Error implements error.
func (e *DamageError) Error() string {
	return fmt.Sprintf("%v: %s, bytes %d to %d: what they said of jobs is lost; restore the file, or open it with salvage", ErrDamaged, e.Name, e.From, e.To)
}

// Is makes the error match ErrDamaged.
func (e *DamageError) Is(target error) bool { return target == ErrDamaged }

// The beginning of a log. All integers are little-endian.
//
//	 0  4   signature "TPJL"
//	 4  u8  version, 1
//	 5  3   zero
//	 8  u64 identity of this log, random, not 0: records of another do not pass
//	16  i64 time at which it was begun, ns
//	24  u64 number of the next job, as of then
//	32  28  zero
//	60  u32 CRC32C of the 60 bytes before
const (
	logHeader    = 64
	logSignature = "TPJL"
	logVersion   = 1

	logName    = "jobs.log"
	logNew     = logName + fsys.TemporarySuffix // while it is written
	logTorn    = logName + ".torn"              // then "-" and the place that it was cut off at
	logDamaged = logName + ".damaged"           // then "-" and the log's identity
)

// logFile is a log on the disk, with space reserved beyond what is in use.
type logFile struct {
	f        fsys.File
	identity uint64
	next     uint64 // number of the next job, as the header has it
	size     int64  // of the file
	end      int64  // where the next record goes
	synced   int64  // up to here everything is on the disk
	sequence uint64 // of the next record
	readers  int    // store.mu
	retired  bool   // store.mu; whoever reads last closes it
}

// createLog begins a log under its temporary name, with room for size bytes.
func createLog(fsx fsys.FS, dir string, size int64, identity, next uint64, now int64) (*logFile, error) {
	name := dir + "/" + logNew
	if err := fsx.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	f, err := fsx.Open(name, fsys.Create)
	if err != nil {
		return nil, err
	}
	l := &logFile{f: f, identity: identity, next: next, end: logHeader}
	if err := errors.Join(l.reserve(size), l.writeHeader(now)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return l, nil
}

func (l *logFile) writeHeader(now int64) error {
	b := append(make([]byte, 0, logHeader), logSignature...)
	b = append(b, logVersion, 0, 0, 0)
	b = binary.LittleEndian.AppendUint64(b, l.identity)
	b = binary.LittleEndian.AppendUint64(b, uint64(now))
	b = binary.LittleEndian.AppendUint64(b, l.next)
	b = append(b, make([]byte, 28)...)
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	_, err := l.f.WriteAt(b, 0)
	return err
}

// openLog opens the log in force and reads its header.
func openLog(fsx fsys.FS, dir string) (*logFile, error) {
	f, err := fsx.Open(dir+"/"+logName, fsys.Write)
	if err != nil {
		return nil, err
	}
	l := &logFile{f: f, end: logHeader}
	if err := l.readHeader(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s/%s: %w", dir, logName, err), f.Close())
	}
	return l, nil
}

func (l *logFile) readHeader() (err error) {
	if l.size, err = l.f.Size(); err != nil {
		return err
	}
	if l.size < logHeader {
		return fmt.Errorf("%w: it has %d bytes", ErrLog, l.size)
	}
	b := make([]byte, logHeader)
	if _, err := l.f.ReadAt(b, 0); err != nil {
		return err
	}
	switch {
	case string(b[:4]) != logSignature:
		return fmt.Errorf("%w: no signature", ErrLog)
	case b[4] != logVersion:
		return fmt.Errorf("%w: %d, this program knows %d", ErrVersion, b[4], logVersion)
	case crc32.Checksum(b[:60], castagnoli) != binary.LittleEndian.Uint32(b[60:]):
		return fmt.Errorf("%w: wrong checksum of its header", ErrLog)
	}
	l.identity, l.next = binary.LittleEndian.Uint64(b[8:]), binary.LittleEndian.Uint64(b[24:])
	return nil
}

// reserve makes the file have at least size bytes.
func (l *logFile) reserve(size int64) error {
	if size <= l.size {
		return nil
	}
	if err := l.f.Allocate(size); err != nil {
		return err
	}
	l.size = size
	return nil
}
