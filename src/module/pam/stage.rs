//! For tests: a real libpam handle with a host behind it that behaves as badly as it is told to.

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_void};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::ptr::{null_mut, without_provenance_mut};

use libc::{c_char, c_int};
use pam_sys::{PamConversation, PamHandle, PamMessage, PamResponse, raw};
use tempfile::TempDir;

use super::{Handle, Item, codes};

/// PAM_USER
pub const USER: c_int = 2;

unsafe extern "C" {
    /// pam_start_confdir(3), which pam-sys lacks: as pam_start, with the folder of the service files.
    fn pam_start_confdir(
        service: *const c_char,
        user: *const c_char,
        conversation: *const PamConversation,
        folder: *const c_char,
        handle: *mut *mut PamHandle,
    ) -> c_int;
}

/// What the host does when it is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Behaviour {
    /// Gives these bytes.
    Answer(Vec<u8>),
    /// Gives a response whose text is NULL.
    NoText,
    /// Succeeds and gives no response.
    NoArray,
    /// Returns this code.
    Fail(c_int),
    /// Fails, and leaves a pointer to nowhere.
    FailWithDanglingArray,
    /// Has no conversation function.
    NoFunction,
}

/// What the host was asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Question {
    /// The message style as an integer.
    pub style: c_int,
    /// The text.
    pub text: Vec<u8>,
}

struct Host {
    behaviour: RefCell<Behaviour>,
    questions: RefCell<Vec<Question>>,
    last_text: RefCell<u64>,
}

/// The handle, the host, and a folder for both.
pub struct Stage {
    raw: *mut PamHandle,
    host: Box<Host>,
    folder: TempDir,
}

impl Stage {
    /// The name of the service.
    pub const SERVICE: &str = "qrtotp-stage";

    /// A host that knows its user and fails if it asks anything.
    pub fn new() -> Self {
        Self::for_user(Some(c"alice"))
    }

    /// The same for this user, or for none.
    pub fn for_user(user: Option<&CStr>) -> Self {
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join(Self::SERVICE), "auth required pam_deny.so\n").unwrap();
        let host = Box::new(Host {
            behaviour: RefCell::new(Behaviour::Fail(codes::CONV_ERR)),
            questions: RefCell::default(),
            last_text: RefCell::default(),
        });
        let mut stage = Self { raw: null_mut(), host, folder };
        let service = CString::new(Self::SERVICE).unwrap();
        let path = CString::new(stage.folder.path().as_os_str().as_encoded_bytes()).unwrap();
        let user = user.map_or(std::ptr::null(), CStr::as_ptr);
        // SAFETY: C strings or NULL; libpam copies them and the conversation; `raw` can be written to.
        let code =
            unsafe { pam_start_confdir(service.as_ptr(), user, &stage.conversation(), path.as_ptr(), &mut stage.raw) };
        assert_eq!(code, codes::SUCCESS);
        stage
    }

    /// The same host, behaving like this from now on.
    pub fn answering(self, behaviour: Behaviour) -> Self {
        *self.host.behaviour.borrow_mut() = behaviour;
        let conversation = self.conversation();
        self.set(codes::CONV, (&raw const conversation).cast());
        self
    }

    /// The same host with this item set.
    pub fn with(self, item: Item, value: &str) -> Self {
        let value = CString::new(value).unwrap();
        self.set(item as c_int, value.as_ptr().cast());
        self
    }

    /// The handle.
    pub fn handle(&self) -> Handle<'_> {
        // SAFETY: the handle lives as long as the stage, and tests use one stage on one thread.
        unsafe { Handle::new(self.raw) }.unwrap()
    }

    /// The handle as C has it.
    pub fn raw(&self) -> *mut PamHandle {
        self.raw
    }

    /// A folder that goes with the stage.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What the host was asked so far.
    pub fn questions(&self) -> Vec<Question> {
        self.host.questions.borrow().clone()
    }

    /// Where the text of the host's last answer lay.
    pub fn last_text(&self) -> u64 {
        *self.host.last_text.borrow()
    }

    fn conversation(&self) -> PamConversation {
        let function = *self.host.behaviour.borrow() != Behaviour::NoFunction;
        let host: *const Host = &*self.host;
        PamConversation { conv: if function { Some(converse) } else { None }, data_ptr: host.cast_mut().cast() }
    }

    fn set(&self, item: c_int, value: *const c_void) {
        // SAFETY: the handle is live, and `value` is what the item wants: a C string or a struct pam_conv; both are copied.
        assert_eq!(unsafe { raw::pam_set_item(self.raw, item, value) }, codes::SUCCESS);
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // SAFETY: the handle is live, and this is its only end.
        unsafe { raw::pam_end(self.raw, codes::SUCCESS) };
    }
}

/// What lies at this address now, read past the allocator and the compiler; freed memory may be read so.
pub fn memory_at(address: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    File::open("/proc/self/mem").unwrap().read_exact_at(&mut bytes, address).unwrap();
    bytes
}

extern "C" fn converse(
    count: c_int,
    messages: *mut *mut PamMessage,
    responses: *mut *mut PamResponse,
    data: *mut c_void,
) -> c_int {
    assert_eq!(count, 1);
    // SAFETY: `data` is the host of a live stage; there is one message, whose text is a C string.
    let (host, question) = unsafe {
        let message = &**messages;
        let text = CStr::from_ptr(message.msg).to_bytes().to_vec();
        (&*data.cast_const().cast::<Host>(), Question { style: message.msg_style, text })
    };
    host.questions.borrow_mut().push(question);
    let (code, array) = match &*host.behaviour.borrow() {
        Behaviour::Answer(bytes) => (codes::SUCCESS, allocate(host, Some(bytes))),
        Behaviour::NoText => (codes::SUCCESS, allocate(host, None)),
        Behaviour::NoArray | Behaviour::NoFunction => (codes::SUCCESS, null_mut()),
        Behaviour::Fail(code) => (*code, null_mut()),
        Behaviour::FailWithDanglingArray => (codes::CONV_ERR, without_provenance_mut(0xdead_beef_0000)),
    };
    // SAFETY: the caller gave a place for the array.
    unsafe { *responses = array };
    code
}

/// An array of one response, as pam_conv(3) wants it: from malloc(3), text and array alike.
fn allocate(host: &Host, text: Option<&[u8]>) -> *mut PamResponse {
    let text = text.map(|bytes| CString::new(bytes).unwrap());
    // SAFETY: the array is as large as one response, and strdup gets a C string.
    unsafe {
        let array = libc::calloc(1, size_of::<PamResponse>()).cast::<PamResponse>();
        if let Some(text) = text {
            (*array).resp = libc::strdup(text.as_ptr());
            *host.last_text.borrow_mut() = (*array).resp.addr() as u64;
        }
        array
    }
}
