//! A browser that shows nothing and runs nothing: it fetches pages and sends their forms.

use crate::stage::Stage;
use crate::support::{Answered, Call, Client, Held, held};
use axum::http::Method;

const FORM: &str = "application/x-www-form-urlencoded";

pub struct Plain {
    client: Client,
    cookie: String,
}

impl Plain {
    /// Where this person is signed in, in the company.
    pub async fn signed_in(stage: &Stage, email: &str) -> Self {
        let link = stage.test.app.sign_in_link(email, stage.test.company).await.expect("a link");
        let mut plain = Self { client: stage.test.nobody.clone(), cookie: String::new() };
        let path = format!("/console/sign-in/{}", link.reveal());
        let answer = plain.call(Method::POST, &path).await.expect(303);
        let cookie = answer.header("set-cookie").split(';').next().unwrap_or_default();
        cookie.clone_into(&mut plain.cookie);
        plain
    }

    fn call(&self, method: Method, path: &str) -> Call {
        let call = self.client.call(method, path).header("cookie", &self.cookie);
        call.header("sec-fetch-site", "same-origin")
    }

    pub async fn get(&self, path: &str) -> Answered {
        self.call(Method::GET, path).await
    }

    /// The form on the page at this path that leads to the same path.
    pub async fn open(&self, path: &str) -> Form {
        self.form(path, path.split('?').next().unwrap_or_default()).await
    }

    /// The form on the page at this path that leads to that one.
    pub async fn form(&self, path: &str, action: &str) -> Form {
        let page = self.get(path).await.expect(200);
        Form { hidden: hidden(&page.text, action), action: action.to_owned() }
    }

    /// Sends a form with these fields besides what is hidden in it.
    pub async fn submit(&self, form: &Form, fields: &[(&str, &str)]) -> Answered {
        self.call(Method::POST, &form.action).text(FORM, &form.body(fields)).await
    }

    /// Begins to send a form, which stops until it is told to go on.
    pub fn begin(&self, form: &Form, fields: &[(&str, &str)]) -> (Call, Held) {
        let (body, held) = held(&form.body(fields));
        (self.call(Method::POST, &form.action).body(FORM, body), held)
    }

    /// Opens a form and sends it.
    pub async fn fill(&self, path: &str, fields: &[(&str, &str)]) -> Answered {
        self.submit(&self.open(path).await, fields).await
    }
}

/// A form that was opened.
pub struct Form {
    action: String,
    hidden: Vec<(String, String)>,
}

impl Form {
    fn body(&self, fields: &[(&str, &str)]) -> String {
        let mut body = url::form_urlencoded::Serializer::new(String::new());
        body.extend_pairs(&self.hidden).extend_pairs(fields);
        body.finish()
    }
}

/// What is hidden in the form with this action.
fn hidden(page: &str, action: &str) -> Vec<(String, String)> {
    let form = page.split("<form").find(|form| form.contains(&format!("action=\"{action}\"")));
    let form = form.unwrap_or_else(|| panic!("no form leads to {action}: {page}"));
    let form = form.split("</form>").next().unwrap_or_default();
    let fields = form.split("<input type=\"hidden\" name=\"").skip(1);
    fields
        .map(|field| {
            let mut parts = field.split('"');
            let name = parts.next().unwrap_or_default().to_owned();
            (name, parts.nth(1).unwrap_or_default().replace("&amp;", "&"))
        })
        .collect()
}
