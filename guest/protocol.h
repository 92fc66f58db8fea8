/* Generated from specs/guest.proto by `python -m codegen`: numbers of fields and values. */
#ifndef PROTOCOL_H
#define PROTOCOL_H

enum {
    TO_GUEST_TASK = 1,
    TO_GUEST_HELLO = 2,
    TO_GUEST_PING = 3,
    TO_GUEST_HOLD = 4,
    TO_GUEST_RUN = 5,
    TO_GUEST_FILES = 6,
    TO_GUEST_DIAL = 7,
    TO_GUEST_INPUT = 8,
    TO_GUEST_WINDOW = 9,
    TO_GUEST_SIGNAL = 10,
    TO_GUEST_RESIZE = 11,
    TO_GUEST_KILL = 12,
    TO_GUEST_FORGET = 13,
    TO_GUEST_CONFINE = 14,
    TO_GUEST_LISTEN = 15,
    TO_GUEST_ACCEPT = 16,
};

enum {
    HELLO_NONCE = 1,
    HELLO_SECRET = 2,
};

enum {
    RUN_ARGV = 1,
    RUN_ENV = 2,
    RUN_CWD = 3,
    RUN_USER = 4,
    RUN_TERMINAL = 5,
    RUN_TAKES_INPUT = 6,
    RUN_DETACHED = 7,
    RUN_WINDOW = 8,
    RUN_LIMITS = 9,
    RUN_LABEL = 10,
    RUN_MERGED = 11,
};

enum {
    TERMINAL_ROWS = 1,
    TERMINAL_COLUMNS = 2,
};

enum {
    RESOURCE_LIMIT_RESOURCE = 1,
    RESOURCE_LIMIT_VALUE = 2,
};

enum {
    FILE_WORKER_WINDOW = 1,
};

enum {
    FILE_REQUEST_KIND = 1,
    FILE_REQUEST_PATH = 2,
    FILE_REQUEST_TARGET = 3,
    FILE_REQUEST_MODE = 4,
    FILE_REQUEST_UID = 5,
    FILE_REQUEST_GID = 6,
    FILE_REQUEST_MODIFIED_NS = 7,
    FILE_REQUEST_TOLERATED = 8,
    FILE_REQUEST_FOLLOW = 9,
    FILE_REQUEST_WHOLE = 10,
    FILE_REQUEST_LIST = 11,
    FILE_REQUEST_KEPT = 12,
    FILE_REQUEST_KEEP = 13,
    FILE_REQUEST_ANEW = 14,
};

enum {
    ENTRY_NAME = 1,
    ENTRY_MODE = 2,
    ENTRY_SIZE = 3,
    ENTRY_UID = 4,
    ENTRY_GID = 5,
    ENTRY_MODIFIED_NS = 6,
    ENTRY_LINK = 7,
    ENTRY_DEVICE = 8,
    ENTRY_INODE = 9,
    ENTRY_NAMES = 10,
};

enum {
    DIAL_PORT = 1,
    DIAL_PATH = 2,
    DIAL_WINDOW = 3,
};

enum {
    LISTEN_ADDRESS = 1,
    LISTEN_PORT = 2,
    LISTEN_DATAGRAMS = 3,
};

enum {
    ACCEPT_LISTENER = 1,
    ACCEPT_WINDOW = 2,
};

enum {
    INPUT_DATA = 1,
    INPUT_END = 2,
};

enum {
    WINDOW_RECEIVED = 1,
    WINDOW_LIMIT = 2,
    WINDOW_RESEND = 3,
};

enum {
    SIGNAL_NUMBER = 1,
};

enum {
    RESIZE_ROWS = 1,
    RESIZE_COLUMNS = 2,
};

enum {
    CONFINE_HOSTNAME = 1,
};

enum {
    FROM_GUEST_TASK = 1,
    FROM_GUEST_WELCOME = 2,
    FROM_GUEST_PONG = 3,
    FROM_GUEST_HELD = 4,
    FROM_GUEST_KNOWN = 5,
    FROM_GUEST_STARTED = 6,
    FROM_GUEST_OUTPUT = 7,
    FROM_GUEST_CREDIT = 8,
    FROM_GUEST_ENDED = 9,
    FROM_GUEST_DIALLED = 10,
    FROM_GUEST_OUTPUT_END = 11,
};

enum {
    DIALLED_SECRET = 1,
};

enum {
    WELCOME_NONCE = 1,
    WELCOME_LAST_TASK = 2,
    WELCOME_VERSION = 3,
    WELCOME_GUARDED = 4,
    WELCOME_LISTENS = 5,
};

enum {
    KNOWN_RECEIVED = 1,
    KNOWN_PRODUCED = 2,
    KNOWN_DROPPED = 3,
    KNOWN_CREDIT = 4,
    KNOWN_ENDED = 5,
    KNOWN_INPUT = 6,
    KNOWN_LABEL = 7,
};

enum {
    STARTED_PID = 1,
};

enum {
    OUTPUT_STREAM = 1,
    OUTPUT_OFFSET = 2,
    OUTPUT_DATA = 3,
};

enum {
    CREDIT_LIMIT = 1,
};

enum {
    ENDED_STATUS = 1,
    ENDED_SIGNAL = 2,
    ENDED_UNKNOWN = 3,
    ENDED_DROPPED = 4,
    ENDED_NOT_RUN = 5,
    ENDED_DURATION_MS = 6,
};

enum file_kind {
    FILE_KIND_UNSPECIFIED = 0,
    FILE_KIND_READ = 1,
    FILE_KIND_WRITE = 2,
    FILE_KIND_STAT = 3,
    FILE_KIND_MAKE = 4,
    FILE_KIND_LINK = 5,
    FILE_KIND_SET = 6,
    FILE_KIND_UNLINK = 7,
    FILE_KIND_REMOVE_DIR = 8,
    FILE_KIND_MOVE = 9,
    FILE_KIND_ENTER = 10,
    FILE_KIND_LEAVE = 11,
};

enum output_stream {
    OUTPUT_STREAM_STDOUT = 0,
    OUTPUT_STREAM_STDERR = 1,
};

enum not_run {
    NOT_RUN_UNSPECIFIED = 0,
    NOT_RUN_PROGRAM = 1,
    NOT_RUN_DIRECTORY = 2,
    NOT_RUN_USER = 3,
};

#endif
